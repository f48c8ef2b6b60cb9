-- How much is in the log?
select
  (select count(*) from events) as events,
  (select count(*) from events where is_entrance) as visits,
  (select count(*) from lead_states) as leads
