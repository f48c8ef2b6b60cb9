-- What is each lead's present state, refused ones left out?
-- What was decided by hand counts more than what the site's answer told, and that more than the bare submission; among
-- equals the latest counts. What describes the lead comes from the facts that describe it.
with facts as (
  select
    *,
    case
      when fact in ('confirmed', 'discarded') then 2
      when fact = 'submitted' then 0
      else 1
    end as weight,
    lead_id in (select lead_id from lead_facts where fact = 'erased') as is_erased
  from lead_facts
  where fact <> 'erased'
),
leads as (
  select
    lead_id,
    max(occurred_at) filter (weight < 2) as occurred_at,
    arg_max(fact, (weight, occurred_at)) as fact,
    arg_max(reason, (weight, occurred_at)) as reason,
    arg_max(event_id, (weight, occurred_at)) filter (weight < 2) as event_id,
    arg_max(visitor_id, (weight, occurred_at)) filter (weight < 2) as visitor_id,
    arg_max(visit_id, (weight, occurred_at)) filter (weight < 2) as visit_id,
    arg_max(host, (weight, occurred_at)) filter (weight < 2) as host,
    arg_max(form, (weight, occurred_at)) filter (weight < 2) as form,
    arg_max(rule, (weight, occurred_at)) filter (weight < 2) as rule,
    arg_max(page, (weight, occurred_at)) filter (weight < 2) as page,
    arg_max(action, (weight, occurred_at)) filter (weight < 2) as action,
    arg_max(contact, (weight, occurred_at)) filter (weight < 2 and not is_erased) as contact,
    arg_max(lead_fields, (weight, occurred_at)) filter (weight < 2) as lead_fields,
    arg_max(field_names, (weight, occurred_at)) filter (weight < 2) as field_names
  from facts
  group by lead_id
)
select
  lead_id,  -- UUIDv7, given before the site saw the form
  occurred_at,  -- when the form was sent
  case
    when fact in ('accepted', 'confirmed') then 'accepted'
    when fact = 'discarded' then 'discarded'
    else 'unconfirmed'
  end as state,  -- as in `leads`
  case when fact = 'submitted' then coalesce(nullif(reason, ''), 'no answer is known') else nullif(reason, '') end as reason,  -- as in `leads`
  event_id,  -- the row in `events`
  visitor_id,  -- the browser
  visit_id,  -- the visit
  host,  -- Host of the form
  form,  -- its name
  rule,  -- rule of `tracker.forms` that took it, or `generic`
  page,  -- path of the page it stands on
  action,  -- path it was sent to
  contact,  -- contact data, sealed
  lead_fields,  -- which lead fields are in it
  field_names  -- names of all fields of the form, without values
from leads
where fact <> 'refused'
  and occurred_at is not null
