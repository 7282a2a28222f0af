// Documents that are written, parsed, sorted and joined.
let total = 0;
for (let round = 0; round < 2; round += 1) {
  const rows = Array.from({ length: 4000 }, (_, at) => ({
    at,
    name: `row ${(at * 7919) % 4001}`,
    parts: [at, at + 1],
  }));
  const text = JSON.stringify(rows);
  const read = JSON.parse(text).sort((a, b) => (a.name < b.name ? -1 : 1));
  total += Buffer.from(text).length + read[0].at;
}
console.log(total);
