// Compiles src/*.sol to artifacts/*.json, byte for byte the same on every machine.
//   node build.mjs           writes the artifacts
//   node build.mjs --check   compares with the committed ones and exits 1 when they differ
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const solc = createRequire(import.meta.url)("solc");
const here = dirname(fileURLToPath(import.meta.url));
const deployed = [
  "LocusToken", "DatasetRegistry", "OfferBook", "CommitteeVerifier", "QueryEscrow",
  "Groth16Verifier", "RegistryRoots", "CohortVerifier",
];
const runtimeBytesMax = 24_576; // EIP-170
const check = process.argv.includes("--check");

const files = readdirSync(join(here, "src")).filter((file) => file.endsWith(".sol")).sort();
const input = {
  language: "Solidity",
  sources: Object.fromEntries(files.map((file) => [file, { content: readFileSync(join(here, "src", file), "utf8") }])),
  settings: {
    optimizer: { enabled: true, runs: 10_000 },
    evmVersion: "cancun",
    metadata: { bytecodeHash: "none", appendCBOR: false },
    outputSelection: {
      "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "evm.methodIdentifiers", "storageLayout"] },
    },
  },
};
const findImport = (path) => {
  try {
    return { contents: readFileSync(join(here, "node_modules", path), "utf8") };
  } catch (error) {
    return { error: String(error) };
  }
};
const output = JSON.parse(solc.compile(JSON.stringify(input), { import: findImport }));
const problems = (output.errors ?? []).filter((error) => error.severity !== "info");
for (const problem of problems) console.error(problem.formattedMessage);
if (problems.length > 0) process.exit(1);

/** The layout without the compiler's node numbers, which change whenever any other file does. */
function withoutAstIds(layout) {
  const text = JSON.stringify(layout, (key, value) => (key === "astId" ? undefined : value));
  return JSON.parse(text.replace(/(t_(?:struct|enum|contract|userDefinedValueType)\([A-Za-z0-9_]+\))\d+/g, "$1"));
}

mkdirSync(join(here, "artifacts"), { recursive: true });
let drifted = false;
for (const name of deployed) {
  const contract = output.contracts[`${name}.sol`][name];
  const runtimeBytes = contract.evm.deployedBytecode.object.length / 2;
  if (runtimeBytes > runtimeBytesMax) throw new Error(`${name} has ${runtimeBytes} bytes, more than ${runtimeBytesMax}`);
  const artifact = {
    contractName: name,
    compiler: solc.version(),
    abi: contract.abi,
    bytecode: `0x${contract.evm.bytecode.object}`,
    deployedBytecode: `0x${contract.evm.deployedBytecode.object}`,
    methodIdentifiers: contract.evm.methodIdentifiers,
    storageLayout: withoutAstIds(contract.storageLayout),
  };
  const path = join(here, "artifacts", `${name}.json`);
  const text = `${JSON.stringify(artifact, null, 1)}\n`;
  if (!check) {
    writeFileSync(path, text);
    console.log(`${name}: ${runtimeBytes} bytes`);
  } else if (readFileSync(path, "utf8") !== text) {
    console.error(`${name}.json differs from its source: run \`npm run build\` and commit the result`);
    drifted = true;
  }
}
const expected = deployed.map((name) => `${name}.json`);
for (const entry of readdirSync(join(here, "artifacts")).filter((entry) => !expected.includes(entry))) {
  console.error(`artifacts/${entry} is no artifact of this build: remove it`);
  drifted = true;
}
if (drifted) process.exit(1);
