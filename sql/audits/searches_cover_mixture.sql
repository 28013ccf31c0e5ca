-- Benchmarks and held-out sets that not every document of a current mixture was searched for.
-- reads:  mixtures(mixture, version, is_current, documents), coverage(benchmark),
--           stored.version_searches(mixture, version, kind, name, searched_documents)
-- yields: searches_cover_mixture(mixture, version, name, kind, documents, searched_documents)
-- grain:  one row per current mixture and benchmark or held-out set that is not covered; none where all is well
-- params: none
WITH wanted AS (
    SELECT DISTINCT m.mixture, m.version, c.benchmark AS name
    FROM mixtures AS m
    CROSS JOIN coverage AS c
    WHERE m.is_current
    UNION
    SELECT mixture, version, name FROM stored.version_searches
)
SELECT m.mixture, m.version, w.name, s.kind, m.documents, coalesce(s.searched_documents, 0) AS searched_documents
FROM mixtures AS m
JOIN wanted AS w USING (mixture, version)
LEFT JOIN stored.version_searches AS s USING (mixture, version, name)
WHERE m.is_current AND s.searched_documents IS DISTINCT FROM m.documents
ORDER BY m.mixture, m.version, w.name
