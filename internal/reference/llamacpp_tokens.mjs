// Tokenises with llama.cpp, to cross-check the fixtures: node llamacpp_tokens.mjs MODEL.gguf texts.json ids.json
// In: ["text", ..]. Out: {"version", "special": [[ids], ..], "plain": [[ids], ..]} (control tokens parsed, or not).
// Run it in a folder where `npm install node-llama-cpp@3.22.1` was done; it brings llama.cpp prebuilt.
import {readFileSync, writeFileSync} from "node:fs";
import {pathToFileURL} from "node:url";
import path from "node:path";

const [modelPath, textsPath, idsPath] = process.argv.slice(2);
const root = path.join(process.cwd(), "node_modules", "node-llama-cpp");
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(path.join(root, "dist", "index.js")));

const texts = JSON.parse(readFileSync(textsPath, "utf8"));
const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath});
const all = (special) => texts.map((text) => Array.from(model.tokenize(text, special)));
writeFileSync(idsPath, JSON.stringify({
    version: {"node-llama-cpp": JSON.parse(readFileSync(path.join(root, "package.json"))).version, "llama.cpp": llama.llamaCppRelease.release},
    special: all(true),
    plain: all(false)
}));
await model.dispose();
