-- Personal data and keys by source and kind: documents that hold any, spans, and spans per megabyte of the source's text.
-- reads:  stored.stage_pii(stage, doc_id, source, pii__spans), documents(source, num_bytes)
-- yields: pii(stage, source, kind, documents, spans, spans_per_mb)
-- grain:  one row per stage, source and kind that was found in it
-- params: none
WITH found AS (
    SELECT stage, source, doc_id, unnest(pii__spans).kind AS kind FROM stored.stage_pii
), sizes AS (
    SELECT source, sum(num_bytes) AS bytes FROM documents GROUP BY source
)
SELECT
    found.stage, found.source, found.kind, count(DISTINCT doc_id) AS documents, count(*) AS spans,
    round(count(*) * 1000000 / any_value(bytes), 4) AS spans_per_mb
FROM found
JOIN sizes ON sizes.source = found.source
GROUP BY found.stage, found.source, found.kind
ORDER BY found.stage, found.source, spans DESC, found.kind
