#!/bin/sh
# Deploys a commit to Vercel, and waits until it serves:
#
#     sh scripts/deploy_to_vercel.sh '{"type": "…", "ref": "main", "sha": "…", …}'
#
# The argument is `gitSource` of Vercel's REST API: a commit of the repository that the project is
# connected to. Vercel's own CLI would download hundreds of packages next to VERCEL_TOKEN.
set -eu

send() {
    path="$1"
    shift
    curl --silent --show-error --fail-with-body --max-time 30 \
        --header "Authorization: Bearer $VERCEL_TOKEN" "$@" \
        "https://api.vercel.com/v13/deployments$path?teamId=$VERCEL_ORG_ID"
}

body="$(jq --null-input --arg project "$VERCEL_PROJECT_ID" --argjson source "$1" \
    '{name: $project, project: $project, target: "production", gitSource: $source}')"
deployment="$(send "" --json "$body")"
# For 15 minutes, every 5 seconds.
for _ in $(seq 180); do
    case "$(printf '%s' "$deployment" | jq --raw-output .readyState)" in
        READY) exit 0 ;;
        ERROR | CANCELED) break ;;
    esac
    sleep 5
    deployment="$(send "/$(printf '%s' "$deployment" | jq --raw-output .id)")"
done
printf '%s' "$deployment" | jq '{readyState, inspectorUrl}' >&2
exit 1
