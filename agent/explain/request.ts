// A call as policy sees it: what a sidecar makes of a request before any rule is asked. Every connection manager of the mesh
// normalises paths alike (xds/connection-manager.ts), so this is the one other place that knows how; policy.envoy.test.ts holds it
// to a real Envoy's answers. Pure.

export interface CallHttp {
  readonly method: string;
  /** As the application writes it, query included. */
  readonly path: string;
  /** Lower-case names, `host` among them; values of one name are joined by a comma, as Envoy does. */
  readonly headers: Readonly<Record<string, string>>;
}

/** What rules are asked about. */
export interface SeenHttp {
  readonly method: string;
  /** Normalised, without query and fragment. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

export type Seen =
  | { readonly kind: "request"; readonly request: SeenHttp }
  /** The first sidecar answers 307: the application comes back with this path, or does not. */
  | { readonly kind: "redirect"; readonly path: string }
  /** The first sidecar answers 400. */
  | { readonly kind: "malformed"; readonly why: string };

const escapedSlash = /%2f/gi;
const escapedBackslash = /%5c/gi;

/** RFC 3986 2.3: written with a percent sign they mean the same, so they are written without one. */
const unreserved = /^[A-Za-z0-9._~-]$/;

/** Decodes what needs no escape and leaves every other escape as it is written. */
function withoutNeedlessEscapes(path: string): string {
  return path.replace(/%([0-9A-Fa-f]{2})/g, (escape, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16));
    return unreserved.test(character) ? character : escape;
  });
}

/** RFC 3986 5.2.4, for a path that begins with a slash; a backslash counts as a slash, as it does to browsers and to Envoy. */
function withoutDotSegments(path: string): string {
  const segments = path.replaceAll("\\", "/").split("/").slice(1);
  const kept: string[] = [];
  segments.forEach((segment, index) => {
    const last = index === segments.length - 1;
    if (segment === ".." || segment === ".") {
      if (segment === "..") kept.pop();
      // what follows a dot segment is a folder
      if (last) kept.push("");
    } else {
      kept.push(segment);
    }
  });
  return `/${kept.join("/")}`;
}

function normalised(path: string): string {
  return withoutDotSegments(withoutNeedlessEscapes(path)).replaceAll(/\/{2,}/g, "/");
}

/** Letters, digits and the marks that stand in a path as they are; anything else a client must escape. */
const plainPath = /^[A-Za-z0-9._~!$&'()*+,;=:@%/\\[\]-]*$/;

export function seenBySidecars({ method, path, headers }: CallHttp): Seen {
  const end = path.search(/[?#]/);
  const [written, rest] = end === -1 ? [path, ""] : [path.slice(0, end), path.slice(end)];
  if (!written.startsWith("/")) return { kind: "malformed", why: "a path begins with a slash" };
  if (!plainPath.test(written) || /%(?![0-9A-Fa-f]{2})/.test(written))
    return { kind: "malformed", why: "a path holds characters that must be written as %XX" };
  if (written.includes("%00")) return { kind: "malformed", why: "a path holds no zero byte" };
  const unescaped = written.replaceAll(escapedSlash, "/").replaceAll(escapedBackslash, "\\");
  const clean = normalised(unescaped);
  if (unescaped !== written) return { kind: "redirect", path: `${clean}${rest.replace(/#.*/, "")}` };
  return { kind: "request", request: { method, path: clean, headers } };
}
