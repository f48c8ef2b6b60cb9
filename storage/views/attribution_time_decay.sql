-- What was near to each conversion? A touchpoint weighs half as much for every 7 days that it lies before it.
select
  *,
  case
    when touchpoints = 1 then 1
    else pow(0.5, days_before / 7) / sum(pow(0.5, days_before / 7)) over (partition by conversion_id)
  end as credit,  -- its share of the conversion; those of a conversion add up to 1
  (value * credit)::decimal(24, 6) as credited_value  -- its share of the value
from conversion_touchpoints
