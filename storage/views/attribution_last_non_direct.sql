-- What brought each conversion last? The last touchpoint that is neither Direct nor Internal gets all the credit; if there is
-- none, the last one.
select
  *,
  1::double as credit,  -- its share of the conversion; those of a conversion add up to 1
  (value * credit)::decimal(24, 6) as credited_value  -- its share of the value
from conversion_touchpoints
qualify row_number() over (partition by conversion_id order by channel in ('Direct', 'Internal'), position desc) = 1
