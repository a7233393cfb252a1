// The agent's own MutatingWebhookConfiguration: what the writer of `caBundle` compares with.
import type { Result } from "../../../shared/result.ts";
import { readObject } from "./field-reader.ts";
import { readName } from "./metadata.ts";

const MAX_BUNDLE = 1024 * 1024;

export interface WebhookRecord {
  readonly name: string;
  readonly webhooks: readonly { readonly name: string; readonly caBundle: string }[];
}

export function parseWebhook(object: unknown): Result<WebhookRecord> {
  return readObject(object, (root) => ({
    name: readName(root.at("metadata").at("name")),
    webhooks: root
      .at("webhooks")
      .list({ max: 64 })
      .map((webhook) => ({
        name: webhook.at("name").text({ maxLength: 253 }),
        caBundle: webhook.at("clientConfig").at("caBundle").text({ otherwise: "", maxLength: MAX_BUNDLE }),
      })),
  }));
}
