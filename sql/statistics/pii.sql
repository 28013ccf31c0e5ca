-- Personal data and keys by source and kind: documents that hold any, spans, and spans per megabyte of the source's text.
-- reads:  annotations(doc_id, source, pii__spans), documents(source, num_bytes)
-- yields: pii(source, kind, documents, spans, spans_per_mb)
-- grain:  one row per source and kind that was found in it
-- params: none
WITH found AS (
    SELECT source, doc_id, unnest(pii__spans).kind AS kind FROM annotations
), sizes AS (
    SELECT source, sum(num_bytes) AS bytes FROM documents GROUP BY source
)
SELECT
    found.source, found.kind, count(DISTINCT doc_id) AS documents, count(*) AS spans,
    round(count(*) * 1000000 / any_value(bytes), 4) AS spans_per_mb
FROM found
JOIN sizes ON sizes.source = found.source
GROUP BY found.source, found.kind
ORDER BY found.source, spans DESC, found.kind
