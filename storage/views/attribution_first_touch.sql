-- What began the way to each conversion? The first touchpoint gets all the credit.
select
  *,
  1::double as credit,  -- its share of the conversion; those of a conversion add up to 1
  (value * credit)::decimal(24, 6) as credited_value  -- its share of the value
from conversion_touchpoints
where position = 1
