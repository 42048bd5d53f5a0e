#!/usr/bin/env bash
# Makes keys, contracts, certificates and configuration of a market of separate processes in ./market, by the commands
# that operators of a real one use on their own hosts. Needs `locus` and `locus-keyholder` in PATH and a chain node at
# http://127.0.0.1:8545: steps 1 to 3 in compose.yaml come before.
set -euo pipefail
cd "$(dirname "$0")"
market=market
if [ -e "$market/deployment.json" ]; then
    echo "$market/deployment.json is there: nothing to do" >&2
    exit 0
fi
if ! (exec 3<>/dev/tcp/127.0.0.1/8545) 2>/dev/null; then
    echo "no chain node at 127.0.0.1:8545: follow steps 1 to 3 in compose.yaml" >&2
    exit 1
fi
mkdir -p "$market"/{chain,objects,tls}
umask 077
# The first account of every Anvil. A real operator's key is made with: openssl rand -hex 32
printf '%s\n' ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80 >"$market/operator.key"
public=()
for index in 1 2 3; do
    locus-keyholder init --index "$index" --data-dir "$market/keyholder-$index" --public "$market/public-$index.json"
    public+=("$market/public-$index.json")
done
locus deploy --test-network --rpc http://127.0.0.1:8545 --operator-key "$market/operator.key" \
    --keyholder "$(IFS=,; echo "${public[*]}")" --out "$market/deployment.json" "$@"
locus tls init "$market/tls"
for role in archive exchange aggregator keyholder/1 keyholder/2 keyholder/3; do
    name="${role/\//-}"
    locus tls issue "$market/tls" --role "$role" --host "$name,localhost,127.0.0.1" --days 365
    config="$market/config/$name"
    mkdir -p "$config" "$market/$name"
    install -m 600 "$market/tls/$name.pem" "$config/certificate.pem"
    install -m 600 "$market/tls/$name.key" "$config/certificate.key"
    install -m 644 "$market/tls/ca.pem" "$config/ca.pem"
    install -m 644 "$market/deployment.json" "$config/deployment.json"
    {
        echo 'listen = "0.0.0.0:7400"'
        echo 'data_dir = "/var/lib/locus"'
        echo 'chain_url = "http://chain:8545"'
        echo 'deployment_file = "/etc/locus/deployment.json"'
        case "$role" in
        keyholder/*)
            echo "index = ${role#keyholder/}"
            echo 'store_url = "/var/lib/objects"'
            ;;
        exchange) echo 'sender_key_file = "/etc/locus/sender.key"' ;;
        *)
            echo 'store_url = "/var/lib/objects"'
            echo 'keyholders = ["https://keyholder-1:7400", "https://keyholder-2:7400", "https://keyholder-3:7400"]'
            ;;
        esac
        if [ "$role" = aggregator ]; then echo 'exchange = "https://exchange:7400"'; fi
        if [ "${role%/*}" = keyholder ]; then
            echo '[peers]'
            for other in 1 2 3; do
                if [ "keyholder/$other" != "$role" ]; then echo "$other = \"https://keyholder-$other:7400\""; fi
            done
        fi
        printf '[observe]\nlisten = "0.0.0.0:9400"\nlog_json = true\n'
        printf '[front.tls]\ncertificate = "/etc/locus/certificate.pem"\nkey = "/etc/locus/certificate.key"\n'
        printf 'authority = "/etc/locus/ca.pem"\ntrust_domain = "locus.local"\n'
    } >"$config/service.toml"
done
install -m 600 "$market/operator.key" "$market/config/exchange/sender.key"
echo "options for locus: --ca $PWD/$market/tls/ca.pem --archive https://localhost:7422 --exchange https://localhost:7421" \
    "--aggregator https://localhost:7423" \
    "--keyholders https://localhost:7411,https://localhost:7412,https://localhost:7413"
