-- What began and what closed the way to each conversion? 40 % each for the first and the last touchpoint, 20 % for those
-- between, in equal parts; half and half if there are two.
select
  *,
  case
    when touchpoints = 1 then 1
    when touchpoints = 2 then 0.5
    when position in (1, touchpoints) then 0.4
    else 0.2 / (touchpoints - 2)
  end::double as credit,  -- its share of the conversion; those of a conversion add up to 1
  (value * credit)::decimal(24, 6) as credited_value  -- its share of the value
from conversion_touchpoints
