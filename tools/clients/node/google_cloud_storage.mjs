// SPDX-FileCopyrightText: 2026 The gemtune authors
// SPDX-License-Identifier: Apache-2.0
// dependencies: @google-cloud/storage
// @google-cloud/storage: everything is in the environment.

import { Storage } from "@google-cloud/storage";

const bucket = (s) => new Storage({ projectId: s.project }).bucket(s.bucket);

export const upload = (s) => bucket(s).file(s.uploaded).save(s.content);
export const download = async (s) => (await bucket(s).file(s.stored).download())[0];
export const list = async (s) => (await bucket(s).getFiles())[0].map((file) => file.name);
