# The daemons, the command `tepui`, the programs that belong beside them, and the plugins that are
# shipped.
{
  lib,
  stdenv,
  rustPlatform,
  installShellFiles,
  llvmPackages,
  pkg-config,
  protobuf,
  elfutils,
  libseccomp,
  zlib,
}:
let
  workspace = (builtins.fromTOML (builtins.readFile ../Cargo.toml)).workspace.package;
  # What a change of makes no new build.
  aside = [
    ".ci"
    ".git"
    ".github"
    "flake.lock"
    "flake.nix"
    "nixos-modules"
    "result"
    "target"
    "vm-tests"
  ];
in
rustPlatform.buildRustPackage {
  pname = "tepui";
  inherit (workspace) version;

  src = builtins.path {
    name = "tepui-source";
    path = ../.;
    filter =
      path: _:
      let
        inside = lib.removePrefix "${toString ../.}/" (toString path);
      in
      !(builtins.elem inside aside || lib.hasSuffix ".md" inside);
  };
  cargoLock.lockFile = ../Cargo.lock;

  # What builds need, as need_build_tools of .ci/install.sh has it for Debian: tests/test_package.py.
  nativeBuildInputs = [
    installShellFiles
    pkg-config
    protobuf
  ];
  buildInputs = [
    elfutils
    libseccomp
    zlib
  ];
  # The wrapped clang compiles for hosts; this one compiles the BPF programs.
  CLANG = "${llvmPackages.clang-unwrapped}/bin/clang";

  cargoBuildFlags =
    lib.concatMap
      (name: [
        "-p"
        name
      ])
      [
        "tepui"
        "tepui-agentd"
        "tepui-control-plane"
        "tepui-launch"
        "tepui-plugin-binpack"
        "tepui-plugin-numa"
        "tepui-plugin-priority"
        "tepui-runtime"
        "tepui-sim"
      ];

  # What decides is tested here; what acts needs root, cgroups and a network: `./test` has it all.
  cargoTestFlags =
    lib.concatMap
      (name: [
        "-p"
        name
      ])
      [
        "tepui"
        "tepui-agent"
        "tepui-allocator"
        "tepui-apps"
        "tepui-cluster"
        "tepui-marathon"
        "tepui-types"
        "tepui-wire"
      ];

  # Plugins have the names by which they are configured, where services.tepui.*.plugins looks for them.
  postInstall = ''
    mkdir -p $out/lib/tepui/plugins
    mv $out/lib/libnuma.so $out/lib/tepui/plugins/numa.so
    for name in binpack priority; do
      mv $out/lib/libtepui_plugin_$name.so $out/lib/tepui/plugins/$name.so
    done
  ''
  + lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    installShellCompletion --cmd tepui \
      --bash <($out/bin/tepui completions bash) \
      --fish <($out/bin/tepui completions fish) \
      --zsh <($out/bin/tepui completions zsh)
  '';

  meta = {
    description = "Cluster manager that speaks the APIs of Mesos and Marathon";
    license = lib.licenses.asl20;
    mainProgram = "tepui";
    platforms = lib.platforms.linux;
  };
}
