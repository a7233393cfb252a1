// Tests with real parts in them: Envoy, a Kubernetes API server, helm, the kernel's tables, Redis under kill -9.
import { testsOf } from "./vitest.config.ts";

export const config = testsOf("features");
export { config as default };
