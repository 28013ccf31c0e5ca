-- Replay share of the supervised tokens of every step of each current mixture, and its running share.
-- reads:  schedule(mixture, version, is_current, step, is_replay, supervised_tokens)
-- yields: replay_share_per_step(mixture, version, step, supervised_tokens, replay_tokens, replay_fraction, running_fraction)
-- grain:  one row per current mixture and step
-- params: $mixture  text = null; only the mixture of this name
WITH steps AS (
    SELECT
        mixture, version, step, sum(supervised_tokens)::BIGINT AS supervised_tokens,
        coalesce(sum(supervised_tokens) FILTER (WHERE is_replay), 0)::BIGINT AS replay_tokens
    FROM schedule
    WHERE is_current AND ($mixture IS NULL OR mixture = $mixture)
    GROUP BY mixture, version, step
)
SELECT
    mixture, version, step, supervised_tokens, replay_tokens,
    round(replay_tokens / nullif(supervised_tokens, 0), 4) AS replay_fraction,
    round(sum(replay_tokens) OVER so_far / nullif(sum(supervised_tokens) OVER so_far, 0), 4) AS running_fraction
FROM steps
WINDOW so_far AS (PARTITION BY mixture, version ORDER BY step)
ORDER BY mixture, version, step
