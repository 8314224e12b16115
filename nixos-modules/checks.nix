# What `nix flake check` looks at: the package, the Nix code, and every cluster case that has a
# nodes.nix, on NixOS hosts.
{ self, lib }:
pkgs:
let
  source = ../.;
  casesFolder = ../vm-tests/cases;
  hasNodes = name: builtins.pathExists (casesFolder + "/${name}/nodes.nix");
  meta = name: builtins.fromTOML (builtins.readFile (casesFolder + "/${name}/meta.toml"));
  # What clients of Mesos and Marathon need is in PyPI, and a previous release in git's history, not in
  # nixpkgs: theirs run by vm-tests/run alone.
  isHere =
    name: hasNodes name && !((meta name).clients or false) && !((meta name).previous_release or false);
  cases = builtins.filter isHere (builtins.attrNames (builtins.readDir casesFolder));
  # Cases that show the same on other hosts name whose script they run.
  scriptOf = name: (meta name).script or name;

  # The plugins that cases name, where their scripts look for them.
  payload = pkgs.tepui.overrideAttrs {
    pname = "tepui-payload";
    buildPhase = ''
      cargo build --release --locked --offline -p tepui-plugin-numa
      cargo build --release --locked --offline -p tepui-plugin-broken --examples
    '';
    doCheck = false;
    installPhase = ''
      mkdir -p $out/bin/plugins
      for library in target/release/libnuma.so target/release/examples/lib*.so; do
        name=$(basename $library)
        cp $library $out/bin/plugins/''${name#lib}
      done
    '';
    postInstall = "";
  };
  withPayload = {
    systemd.tmpfiles.rules = [ "L+ /payload - - - - ${payload}" ];
  };

  case =
    name:
    pkgs.testers.runNixOSTest {
      inherit name;
      defaults.imports = [
        self.nixosModules.default
      ]
      ++ lib.optional (meta name ? plugins) withPayload;
      nodes = import (casesFolder + "/${name}/nodes.nix") { timeFactor = 1; };
      testScript = builtins.readFile (casesFolder + "/${scriptOf name}/test.py");
    };

  look =
    name: packages: script:
    pkgs.runCommand "tepui-${name}" { nativeBuildInputs = packages; } ''
      export HOME=$TMPDIR
      cd ${source}
      ${script}
      touch $out
    '';
in
{
  package = pkgs.tepui;

  format = look "format" [ pkgs.nixfmt ] "find . -name '*.nix' -exec nixfmt --check {} +";

  dead-code = look "dead-code" [ pkgs.deadnix ] "deadnix --fail .";

  modules =
    look "modules"
      [
        pkgs.nix
        pkgs.python3
      ]
      "python3 nixos-modules/tests/test_modules.py -v --bin ${pkgs.tepui}/bin --plugins ${pkgs.tepui}/lib/tepui/plugins";

  package-inputs = look "package-inputs" [
    pkgs.nix
    pkgs.python3
  ] "python3 nixos-modules/tests/test_package.py";

  clippy = pkgs.tepui.overrideAttrs (old: {
    pname = "tepui-clippy";
    nativeBuildInputs = old.nativeBuildInputs ++ [ pkgs.clippy ];
    buildPhase = "cargo clippy --workspace --all-targets --locked --offline -- -D warnings";
    doCheck = false;
    installPhase = "touch $out";
    postInstall = "";
  });
}
// lib.mapAttrs' (name: lib.nameValuePair "case-${name}") (lib.genAttrs cases case)
