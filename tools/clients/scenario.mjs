// SPDX-FileCopyrightText: 2026 The gemtune authors
// SPDX-License-Identifier: Apache-2.0
// The scenario in the process of one Node client, as scenario.py has it: `node scenario.mjs CLIENT.mjs PACKAGE`.

import { readFileSync } from "node:fs";

const scenario = JSON.parse(process.env.SCENARIO);
scenario.content = Buffer.from(scenario.content, "latin1");
const [, , path, name] = process.argv;

async function stored(name) {
  const url = `${scenario.url}/storage/v1/b/${scenario.bucket}/o/${encodeURIComponent(name)}?alt=media`;
  return Buffer.from(await (await fetch(url)).arrayBuffer());
}

const checks = {
  base: (value) => value === scenario.answers.base,
  system: (value) => value === scenario.answers.system,
  stream: (value) => value.join("") === scenario.answers.base,
  schema: (value) => Object.keys(value).length === 2 && scenario.labels.includes(value.label),
  tools: (value) => String(value) === scenario.function,
  tuned: (value) => value === scenario.answers.tuned,
  upload: async () => scenario.content.equals(await stored(scenario.uploaded)),
  download: (value) => scenario.content.equals(value),
  list: (value) => value.includes(scenario.stored),
};
const { version } = JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url)));
console.log(JSON.stringify({ version: `${name} ${version}` }));
const client = await import(path);
for (const [step, check] of Object.entries(checks)) {
  if (!client[step]) continue;
  let error = "";
  try {
    const value = await client[step](scenario);
    if (!(await check(value))) error = `unexpected: ${JSON.stringify(value)}`;
  } catch (problem) {
    console.error(problem);
    error = String(problem);
  }
  console.log(JSON.stringify({ step, error: error.slice(0, 300) }));
}
process.exit(0);
