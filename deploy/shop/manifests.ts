// The demo's manifests with the image that was built for it, ready for `kubectl apply -f -`. The demo and the
// end-to-end tests call this; by hand, `kubectl apply -f deploy/shop/manifests/FILE` needs the image line edited.
import { readFileSync } from "node:fs";

export type ShopPart = "namespace" | "storefront" | "cart" | "catalog" | "visitor";

/** Which part runs where in the demo: the catalog exists only away from the storefront. */
export const shopParts: Readonly<Record<string, readonly ShopPart[]>> = {
  east: ["namespace", "storefront", "cart", "visitor"],
  west: ["namespace", "catalog"],
  north: ["namespace", "catalog"],
};

const imageLine = /^(\s+image: )isthmus\.dev\/isthmus$/gm;

export function shopManifests(parts: readonly ShopPart[], image: string): string {
  const texts = parts.map((part) => readFileSync(new URL(`./manifests/${part}.yaml`, import.meta.url), "utf8"));
  return texts.join("---\n").replace(imageLine, `$1${image}`);
}
