-- The documents of every mixture version, in the order of the curriculum; token counts are those of one use.
-- reads:  stored.mixture_documents(mixture, version, is_current, phase, phase_number, document, doc_id, source, is_replay, num_tokens,
--           supervised_tokens, repeats)
-- yields: mixture_documents(mixture, version, is_current, phase, phase_number, document, doc_id, source, is_replay, num_tokens,
--           supervised_tokens, repeats)
-- grain:  one row per mixture version, phase and document; one that is used in two phases has two rows
-- params: none
SELECT
    mixture, version, is_current, phase, phase_number, document, doc_id, source, is_replay, num_tokens, supervised_tokens, repeats
FROM stored.mixture_documents
