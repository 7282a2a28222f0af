# Everything of a lock file, taken apart and put together.
[.packages | to_entries[] | {key, version: .value.version, names: (.value.dependencies // {} | keys)}]
| [range(0; 12) as $again | .[] | .names[] + .key] | group_by(.) | map({(.[0]): length}) | add | length
