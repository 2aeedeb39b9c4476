// Compiles the registry and the contracts that its tests need, with the pinned solc, and writes what abigen
// and the layout test read. Usage: node compile.js OUTDIR
"use strict";
const fs = require("fs");
const path = require("path");
const solc = require("solc");

const here = __dirname;
const sources = ["LicenseRegistry.sol", "testdata/TestToken.sol", "testdata/TestWallet.sol"];

function resolve(name) {
  try {
    return { contents: fs.readFileSync(path.join(here, "node_modules", name), "utf8") };
  } catch (err) {
    return { error: String(err) };
  }
}

const input = {
  language: "Solidity",
  sources: Object.fromEntries(sources.map((s) => [s, { content: fs.readFileSync(path.join(here, s), "utf8") }])),
  settings: {
    evmVersion: "cancun",
    viaIR: true,
    optimizer: { enabled: true, runs: 200 },
    // No metadata trailer: the bytecode depends on the code alone, not on comments.
    metadata: { appendCBOR: false, bytecodeHash: "none" },
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "storageLayout"] } },
  },
};

const output = JSON.parse(solc.compile(JSON.stringify(input), { import: resolve }));
// A warning in our own sources fails too; the library's are its authors' business.
const ours = (p) => p.severity === "error" || sources.includes(p.sourceLocation?.file);
const problems = (output.errors || []).filter(ours);
for (const p of problems) process.stderr.write(p.formattedMessage + "\n");
if (problems.length > 0) process.exit(1);

// AST ids number the nodes of all sources; they say nothing about the layout and change with any edit.
function layout(contract) {
  const strip = (s) => s.replace(/\)\d+_storage/g, ")_storage").replace(/\)\d+/g, ")");
  const drop = (key, value) => (key === "astId" ? undefined : typeof value === "string" ? strip(value) : value);
  const { storage, types } = JSON.parse(JSON.stringify(contract.storageLayout, drop));
  const renamed = Object.fromEntries(Object.entries(types).map(([k, v]) => [strip(k), v]));
  return JSON.stringify({ storage, types: renamed }, null, 2) + "\n";
}

const out = process.argv[2];
for (const file of sources) {
  const name = path.basename(file, ".sol");
  const contract = output.contracts[file][name];
  const write = (ext, text) => fs.writeFileSync(path.join(out, name + ext), text);
  write(".abi", JSON.stringify(contract.abi));
  write(".bin", contract.evm.bytecode.object);
  if (name === "LicenseRegistry") {
    write(".layout.json", layout(contract));
    const size = contract.evm.deployedBytecode.object.length / 2;
    process.stderr.write(`LicenseRegistry: ${size} bytes of at most 24576\n`);
  }
}
