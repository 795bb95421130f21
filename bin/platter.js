#!/usr/bin/env node
// Starts the program. Written so that even an old Node can read it and say that it is too old.
var version = process.versions.node.split(".").map(Number);

if (version[0] < 22 || (version[0] === 22 && version[1] < 18)) {
  process.stderr.write(
    "platter: Node.js 22.18 or later is needed, this is " + process.versions.node + ".\n",
  );
  process.exitCode = 1;
} else {
  var nodeModule = process.getBuiltinModule("module");
  if (nodeModule.enableCompileCache) nodeModule.enableCompileCache();
  var fs = process.getBuiltinModule("fs");
  var path = process.getBuiltinModule("path");
  // The build if there is one, otherwise the sources of a checkout, which Node runs as they are.
  var root = path.dirname(path.dirname(fs.realpathSync(process.argv[1])));
  (fs.existsSync(path.join(root, "dist", "program", "cli.js"))
    ? import("../dist/program/cli.js")
    : import("../src/cli/run.ts")
  )
    .then(function (cli) {
      return cli.run();
    })
    .catch(function (error) {
      process.stderr.write("platter: The program cannot be started: " + error.message + "\n");
      process.exitCode = 1;
    });
}
