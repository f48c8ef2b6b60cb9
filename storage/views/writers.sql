-- Who has written spool files, until when, and will more come of them?
-- A writer has ended when it said so, when another life of its name came after it, or when ropo was started after it: each
-- life begins with a file that only says so, and when the supervisor begins one, no older writer lives.
-- A life is known by worker and epoch: a file whose header was torn has lost its node.
with lives as (
  select
    max(node) as node,
    worker,
    epoch,
    count(*) as files,
    max(ingested_at) as last_file_at,
    max(last_seq) as last_seq,
    coalesce(bool_or(stopped), false) as stopped
  from spool_files
  where epoch is not null
  group by worker, epoch
),
starts as (
  select node, max(epoch) as epoch
  from lives
  where worker = 'supervisor'
  group by node
),
ends as (
  select
    lives.*,
    stopped
      or lives.epoch < max(lives.epoch) over (partition by lives.node, worker)
      or coalesce(lives.epoch < starts.epoch, false) as ended
  from lives
  left join starts on starts.node is not distinct from lives.node
)
select
  node,  -- machine
  worker,  -- writer
  epoch,  -- its start, Unix nanoseconds
  to_timestamp(epoch / 1e9) as started_at,  -- the same as a time
  last_file_at,  -- when its latest file came into the log
  files,  -- how many files it wrote
  last_seq,  -- highest number it told of
  stopped,  -- it ended in order
  ended  -- nothing more comes of it
from ends
