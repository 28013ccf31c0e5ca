-- What people who read documents said of them, good or bad, and why; the newest label of a document counts.
-- reads:  stored.labels(position, doc_id, source, label, why, labelled_at, recipe, text_digest, text),
--           stored.text_digests(doc_id, text_digest)
-- yields: labels(doc_id, source, label, why, labelled_at, recipe, is_newest, text_changed, text)
-- grain:  one row per label; text_changed: null where the document is not in this recipe
-- params: none
SELECT
    l.doc_id,
    l.source,
    l.label,
    l.why,
    l.labelled_at,
    l.recipe,
    l.position = max(l.position) OVER (PARTITION BY l.doc_id) AS is_newest,
    CASE WHEN t.doc_id IS NOT NULL THEN t.text_digest IS DISTINCT FROM l.text_digest END AS text_changed,
    l.text
FROM stored.labels AS l
LEFT JOIN stored.text_digests AS t ON t.doc_id = l.doc_id
ORDER BY l.position
