// Lint rules. Each departure from the presets says why.
import tseslint from "typescript-eslint";

/** Folders whose files decide: synchronous functions of their arguments. See docs/decisions/0002-pure-core.md. */
export const pureFolders = [
  "hub/registry/**/*.ts",
  "agent/ir/**/*.ts",
  "agent/smi/**/*.ts",
  "agent/failover/**/*.ts",
  "agent/xds/**/*.ts",
  "shared/pki/template.ts",
  "shared/pki/validate.ts",
  "shared/pki/bundle.ts",
];

const pureReason = "a pure folder decides from its arguments alone; take it as a parameter";

export default tseslint.config(
  { ignores: ["node_modules/**", "dist/**", ".cache/**", "**/*.mjs", "**/*.js", "**/*.cjs"] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: process.cwd() } },
    rules: {
      "@typescript-eslint/switch-exhaustiveness-check": "error",
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
      // void-returning arrow bodies such as `() => stop()` are idiomatic in callbacks
      "@typescript-eslint/no-confusing-void-expression": "off",
      // index signatures come from YAML and Kubernetes objects; tsconfig asks for brackets there
      "@typescript-eslint/dot-notation": "off",
      "@typescript-eslint/no-unnecessary-condition": ["error", { allowConstantLoopConditions: true }],
      "max-lines": ["error", { max: 400, skipBlankLines: true }],
      "max-lines-per-function": ["error", { max: 60, skipBlankLines: true, skipComments: true }],
      complexity: ["error", 12],
      "max-params": ["error", 4],
      "max-depth": ["error", 3],
      "no-restricted-exports": ["error", { restrictDefaultExports: { direct: true } }],
    },
  },
  {
    files: pureFolders,
    ignores: ["**/*.test.ts", "**/testing/**"],
    rules: {
      "no-restricted-globals": [
        "error",
        ...["process", "console", "setTimeout", "setInterval", "setImmediate", "fetch", "performance"].map((name) => ({
          name,
          message: pureReason,
        })),
      ],
      "no-restricted-syntax": [
        "error",
        { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: pureReason },
        { selector: "CallExpression[callee.object.name='Date'][callee.property.name='now']", message: pureReason },
        { selector: "CallExpression[callee.object.name='Math'][callee.property.name='random']", message: pureReason },
        { selector: "FunctionDeclaration[async=true], ArrowFunctionExpression[async=true]", message: pureReason },
      ],
    },
  },
  {
    files: ["**/*.test.ts", "test-clusters/**/*.ts", "**/testing/**/*.ts"],
    rules: {
      // a describe block or a scenario is a list of sentences, not a unit of logic
      "max-lines-per-function": "off",
      "@typescript-eslint/no-non-null-assertion": "off",
    },
  },
);
