-- Kept documents that carry tags: reasons of rules that only tag, and of any rule in a protected source.
-- reads:  stored.decisions(source, num_bytes, tags)
-- yields: tags(reason, source, documents, bytes)
-- grain:  one row per reason and source; source (all) is the sum of all sources. A document counts for each of its tags
-- params: none
WITH tagged AS (
    SELECT unnest(tags) AS reason, source, num_bytes FROM stored.decisions WHERE tags IS NOT NULL
)
SELECT reason, coalesce(source, '(all)') AS source, count(*) AS documents, sum(num_bytes)::BIGINT AS bytes
FROM tagged
GROUP BY GROUPING SETS ((reason, source), (reason))
ORDER BY reason, grouping(source) DESC, documents DESC, source
