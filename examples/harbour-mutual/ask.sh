#!/bin/sh
# Asks each line of standard input as a question, with the key in $KEY, and prints the first line of each answer.
while read -r question; do
  curl -s "${BEDPLATE_URL:-http://127.0.0.1:8400}/v1/chat/completions" -H "Authorization: Bearer $KEY" \
    -d "{\"model\": \"default\", \"messages\": [{\"role\": \"user\", \"content\": \"$question\"}]}" |
    sed 's/.*"content": *"\([^\\"]*\).*/\1/'
  echo
done
