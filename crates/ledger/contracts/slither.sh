#!/bin/sh
# Static analysis of src/. Needs `slither` on PATH (pip install slither-analyzer==0.11.6) and `npm ci` done here.
# Slither cannot follow imports into node_modules, so it runs on a copy with the library under lib/.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lib/openzeppelin"
cp -R "$here/src" "$work/src"
cp -R "$here/node_modules/@openzeppelin/contracts" "$work/lib/openzeppelin/contracts"
cat > "$work/foundry.toml" <<TOML
[profile.default]
src = "src"
out = "out"
libs = ["lib"]
remappings = ["@openzeppelin/=lib/openzeppelin/"]
solc = "$here/solc-js"
offline = true
optimizer = true
optimizer_runs = 10000
evm_version = "cancun"
TOML
cd "$work"
PATH="$here/node_modules/.bin:$PATH"
export PATH
# Left out on purpose: timestamp (deadlines are compared with the block's time by design), assembly and naming style.
slither . --filter-paths "lib/" --exclude timestamp,assembly,naming-convention,pragma,solc-version \
    --fail-medium "$@"
