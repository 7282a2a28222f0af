-- A table that is filled, indexed, joined with itself, sorted and emptied, in memory.
CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL, tags TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
INSERT INTO item SELECT i, printf('item %06d', (i * 7919) % 60000), i * 1.25, printf('%d,%d,%d', i % 7, i % 11, i % 13) FROM n;
CREATE INDEX item_name ON item(name);
SELECT count(*), sum(length(group_concat_)) FROM (SELECT group_concat(name, ';') AS group_concat_ FROM item GROUP BY id % 997);
SELECT count(*) FROM item AS a JOIN item AS b ON a.name = b.name WHERE a.id % 3 = 0;
SELECT sum(length(upper(replace(name, 'item', tags)))) FROM item;
SELECT count(DISTINCT substr(name, 1, 9)) FROM item;
UPDATE item SET tags = tags || ',' || id WHERE id % 2 = 0;
SELECT sum(length(x)) FROM (SELECT json_group_array(json_object('id', id, 'name', name)) AS x FROM item GROUP BY id % 101);
DELETE FROM item WHERE id % 5 = 0;
