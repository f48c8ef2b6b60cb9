-- What was there on the way to each conversion? Every touchpoint gets the same credit.
select
  *,
  1 / touchpoints as credit,  -- its share of the conversion; those of a conversion add up to 1
  (value * credit)::decimal(24, 6) as credited_value  -- its share of the value
from conversion_touchpoints
