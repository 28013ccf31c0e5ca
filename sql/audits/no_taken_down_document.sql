-- Documents of a current mixture that were taken down from this mixture, in whichever version.
-- reads:  stored.mixture_documents(mixture, version, is_current, doc_id, source),
--           stored.taken_down(mixture, version, doc_id)
-- yields: no_taken_down_document(mixture, version, doc_id, source, taken_down_in)
-- grain:  one row per current mixture and document that is there again; none where all is well
-- params: none
SELECT d.mixture, d.version, d.doc_id, d.source, min(t.version) AS taken_down_in
FROM stored.mixture_documents AS d
JOIN stored.taken_down AS t ON t.mixture = d.mixture AND t.doc_id = d.doc_id
WHERE d.is_current
GROUP BY d.mixture, d.version, d.doc_id, d.source
ORDER BY d.mixture, d.version, d.doc_id
