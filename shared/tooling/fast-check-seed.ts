// Runs before each file of tests. A run in CI says whether a commit is good, so it draws the same examples every time; the search for new
// ones goes on in every other run, and what it finds becomes a test of its own.
import fc from "fast-check";
import process from "node:process";

if (process.env["CI"] === "true") fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: 1 });
