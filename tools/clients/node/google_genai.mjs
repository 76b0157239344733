// SPDX-FileCopyrightText: 2026 The gemtune authors
// SPDX-License-Identifier: Apache-2.0
// dependencies: @google/genai
// @google/genai: everything is in the environment.

import { GoogleGenAI } from "@google/genai";

const generate = async (s, { model = s.model, contents = s.prompt, ...config }) =>
  new GoogleGenAI({}).models.generateContent({ model, contents, config });

export const base = async (s) => (await generate(s, {})).text;
export const system = async (s) => (await generate(s, { systemInstruction: s.system })).text;

export async function stream(s) {
  const chunks = [];
  for await (const chunk of await new GoogleGenAI({}).models.generateContentStream({ model: s.model, contents: s.prompt }))
    chunks.push(chunk.text);
  return chunks;
}

export const schema = async (s) =>
  JSON.parse((await generate(s, { responseMimeType: "application/json", responseJsonSchema: s.schema })).text);

export async function tools(s) {
  const declaration = { name: s.function, parametersJsonSchema: s.parameters };
  return (await generate(s, { tools: [{ functionDeclarations: [declaration] }] })).functionCalls.map((call) => call.name);
}

export const tuned = async (s) => (await generate(s, { model: s.endpoint, contents: s.tuned_prompt })).text;
