-- What is trained when: every span of a document, with its optimizer step (from 1, as in metrics) and its place in the training row.
-- reads:  stored.spans(mixture, version, step, row, start, length, document, document_start, repeat, supervised_tokens),
--           stored.mixture_documents(mixture, version, is_current, phase, document, doc_id, source, is_replay)
-- yields: schedule(mixture, version, is_current, step, row, start, length, phase, doc_id, source, is_replay, document,
--           document_start, repeat, supervised_tokens)
-- grain:  one row per mixture version and span
-- params: none
SELECT
    s.mixture, s.version, d.is_current, s.step, s.row, s.start, s.length, d.phase, d.doc_id, d.source, d.is_replay, s.document,
    s.document_start, s.repeat, s.supervised_tokens
FROM stored.spans AS s
LEFT JOIN stored.mixture_documents AS d USING (mixture, version, document)
