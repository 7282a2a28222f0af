-- A small table in memory: filled, indexed, joined, grouped, updated, emptied. No block is large.
CREATE TABLE word(id INTEGER PRIMARY KEY, text TEXT, weight REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
INSERT INTO word SELECT i, printf('word %05d', (i * 7919) % 5000), i * 1.25 FROM n;
CREATE INDEX word_text ON word(text);
SELECT count(*) FROM word AS a JOIN word AS b ON a.text = b.text WHERE a.id % 3 = 0;
SELECT count(*) FROM (SELECT upper(replace(text, 'word', 'w')) AS u, sum(weight) FROM word GROUP BY id % 97);
UPDATE word SET text = text || '!' WHERE id % 2 = 0;
DELETE FROM word WHERE id % 5 = 0;
