-- Documents without exactly one decision, and decisions about documents that do not exist.
-- reads:  documents(doc_id, source), decisions(doc_id, decision, reason)
-- yields: one_decision_per_document(doc_id, num_documents, num_decisions, decisions)
-- grain:  one row per doc_id that is wrong; none where all is well, or where nothing was decided yet
-- params: none
WITH ids AS (
    SELECT doc_id, 1 AS is_document, NULL AS decision FROM documents
    UNION ALL
    SELECT doc_id, 0, coalesce(decision, 'null') FROM decisions
), wrong AS (
    -- Counted first and spelt out only where something is wrong: four million documents take seconds, not a minute.
    SELECT doc_id, sum(is_document)::BIGINT AS num_documents, count(decision) AS num_decisions
    FROM ids
    WHERE EXISTS (FROM decisions)
    GROUP BY doc_id
    HAVING num_documents <> 1 OR num_decisions <> 1 OR NOT bool_and(decision IN ('kept', 'dropped', 'held_out', 'over_budget'))
), spelt AS (
    SELECT doc_id, string_agg(decision, ', ' ORDER BY decision) AS decisions
    FROM ids
    WHERE doc_id IN (SELECT doc_id FROM wrong)
    GROUP BY doc_id
)
SELECT doc_id, num_documents, num_decisions, decisions
FROM wrong
LEFT JOIN spelt USING (doc_id)
ORDER BY doc_id
