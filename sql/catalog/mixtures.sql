-- Every version of every mixture in the workspace; is_current marks those the recipe ended with.
-- reads:  stored.mixtures(mixture, version, digest, recipe, is_current, documents, tokens, supervised_tokens, n_eff_before, n_eff_after,
--           replay_share, curriculum, seed, row_tokens, rows_per_step, num_steps, tokenizer, token_store, selection, split, schedule)
-- yields: mixtures(mixture, version, digest, recipe, is_current, documents, tokens, supervised_tokens, n_eff_before, n_eff_after,
--           replay_share, curriculum, seed, row_tokens, rows_per_step, num_steps, tokenizer, token_store, selection, split, schedule)
-- grain:  one row per mixture version
-- params: none
SELECT
    mixture, version, digest, recipe, is_current, documents, tokens, supervised_tokens, n_eff_before, n_eff_after,
    replay_share, curriculum, seed, row_tokens, rows_per_step, num_steps, tokenizer, token_store, selection, split, schedule
FROM stored.mixtures
