-- Documents of a current mixture that must not be trained on: held out, in a held-out group, or not kept.
-- reads:  mixture_documents(mixture, version, is_current, doc_id, source), decisions(doc_id, decision, reason),
--           heldout_groups(doc_id, set)
-- yields: no_heldout_in_mixture(mixture, version, doc_id, source, decision, reason, heldout_set)
-- grain:  one row per current mixture and document that is wrong; none where all is well
-- params: none
SELECT DISTINCT m.mixture, m.version, m.doc_id, m.source, d.decision, d.reason, h."set" AS heldout_set
FROM mixture_documents AS m
LEFT JOIN decisions AS d USING (doc_id)
LEFT JOIN heldout_groups AS h USING (doc_id)
WHERE m.is_current AND (d.decision IS DISTINCT FROM 'kept' OR h.doc_id IS NOT NULL)
ORDER BY m.mixture, m.version, m.doc_id, heldout_set
