// What an ACK or a NACK means for one stream: which resource is to blame, and what is sent apart to find out.
// Called by agent/ads/stream. Envoy names the culprit of a Cluster or Listener in its text and applies the others; a resource
// that fails validation is not named, and none of its response is applied. So text is a hint and only a response that held
// one resource proves anything.
import type { EncodedResource } from "./resource.ts";
import { restore, type Sent, type TypeState } from "./subscription.ts";

export type Answer =
  | { readonly kind: "stale" }
  | { readonly kind: "ack"; readonly sent: Sent }
  /** `culprit` once it is certain; until then the suspects are being sent apart. */
  | { readonly kind: "nack"; readonly sent: Sent; readonly culprit: EncodedResource | undefined };

/**
 * "response_nonce" with or without "error_detail". A nonce that is not the last response's answers nothing:
 * in SotW the whole request is then void, in delta its subscription changes count all the same.
 */
export function answerOf(state: TypeState, nonce: string, errorText: string | undefined): Answer {
  const sent = state.awaiting;
  if (sent?.nonce !== nonce) return { kind: "stale" };
  state.awaiting = undefined;
  if (errorText === undefined) return { kind: "ack", sent };
  for (const { name } of sent.updates) {
    const before = sent.before.get(name);
    if (before !== undefined) restore(state, name, before);
  }
  const [culprit, other] = sent.updates;
  if (culprit !== undefined && other === undefined) {
    state.refused.set(culprit.name, { version: culprit.version, errorText });
    return { kind: "nack", sent, culprit };
  }
  const names = sent.updates.map((resource) => resource.name);
  state.trials = [...suspectParts(names, errorText), ...state.trials];
  return { kind: "nack", sent, culprit: undefined };
}

/** The unnamed together and every named one alone; halves when the text names none, or all. */
export function suspectParts(names: readonly string[], errorText: string): readonly (readonly string[])[] {
  const named = names.filter((name) => mentions(errorText, name));
  const rest = names.filter((name) => !named.includes(name));
  if (named.length > 0 && rest.length > 0) return [rest, ...named.map((name) => [name])];
  const middle = Math.ceil(names.length / 2);
  return [names.slice(0, middle), names.slice(middle)].filter((part) => part.length > 0);
}

const partOfName = /[A-Za-z0-9_.|~/-]/;

/** As a whole word: `cart` is not mentioned by "cart-v2: no healthy ...". A full stop may also end the sentence. */
function mentions(text: string, name: string): boolean {
  for (let at = text.indexOf(name); at !== -1; at = text.indexOf(name, at + 1)) {
    const before = text[at - 1] ?? " ";
    const after = text[at + name.length] ?? " ";
    if (!partOfName.test(before) && (!partOfName.test(after) || after === ".")) return true;
  }
  return false;
}
