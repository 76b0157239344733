// SPDX-FileCopyrightText: 2026 The gemtune authors
// SPDX-License-Identifier: Apache-2.0
// dependencies: @ai-sdk/google-vertex ai
// @ai-sdk/google-vertex: the address is `baseURL`, of the location for a tuned model.

import { createVertex } from "@ai-sdk/google-vertex";
import { generateObject, generateText, jsonSchema, streamText, tool } from "ai";

function model(s, name = s.model, path = "/publishers/google") {
  const place = `/v1/projects/${s.project}/locations/${s.location}`;
  return createVertex({ project: s.project, location: s.location, baseURL: s.url + place + path })(name);
}

export const base = async (s) => (await generateText({ model: model(s), prompt: s.prompt })).text;
export const system = async (s) => (await generateText({ model: model(s), system: s.system, prompt: s.prompt })).text;

export async function stream(s) {
  const chunks = [];
  for await (const chunk of streamText({ model: model(s), prompt: s.prompt }).textStream) chunks.push(chunk);
  return chunks;
}

export const schema = async (s) =>
  (await generateObject({ model: model(s), schema: jsonSchema(s.schema), prompt: s.prompt })).object;

export async function tools(s) {
  const tools = { [s.function]: tool({ description: "status", inputSchema: jsonSchema(s.parameters) }) };
  return (await generateText({ model: model(s), prompt: s.prompt, tools })).toolCalls.map((call) => call.toolName);
}

export async function tuned(s) {
  const name = s.endpoint.split("/").slice(-2).join("/");
  return (await generateText({ model: model(s, name, ""), prompt: s.tuned_prompt })).text;
}
