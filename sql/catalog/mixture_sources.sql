-- What every phase of every mixture version takes from every source; one used as domain text and as replay stands twice.
-- reads:  stored.mixture_sources(mixture, version, is_current, phase, phase_number, source, is_replay, objective, budget_tokens, available_documents,
--           available_tokens, documents, unique_tokens, first_documents, first_tokens, tokens, supervised_tokens, max_repeats)
-- yields: mixture_sources(mixture, version, is_current, phase, phase_number, source, is_replay, objective, budget_tokens, available_documents,
--           available_tokens, documents, unique_tokens, first_documents, first_tokens, tokens, supervised_tokens, max_repeats,
--           repeated_fraction)
-- grain:  one row per mixture version, phase, source and is_replay; repeated_fraction is of the tokens of the row. Over several
--           rows documents and tokens add up in first_documents and first_tokens, each document counted once
-- params: none
SELECT
    mixture, version, is_current, phase, phase_number, source, is_replay, objective, budget_tokens, available_documents,
    available_tokens, documents, unique_tokens, first_documents, first_tokens, tokens, supervised_tokens, max_repeats,
    round((tokens - unique_tokens) / nullif(tokens, 0), 4) AS repeated_fraction
FROM stored.mixture_sources
