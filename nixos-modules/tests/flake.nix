# What the flake offers, with a nixpkgs that is a name and nothing more.
_:
let
  flake = import ../../flake.nix;
  lib = import ../../vm-tests/nix/lib;
  standIn = import ../../vm-tests/nix/pkgs.nix lib;
  tepui = standIn.tepui // {
    outPath = "/flake/tepui";
  };
  nixpkgs = {
    inherit lib;
    legacyPackages = lib.genAttrs [ "aarch64-linux" "x86_64-linux" ] (system: {
      extend =
        overlay:
        standIn
        // overlay { callPackage = _: _: tepui; } { }
        // {
          stdenv.hostPlatform = { inherit system; };
        };
    });
  };
  self = flake.outputs {
    inherit self nixpkgs;
    nixpkgs-unstable = nixpkgs;
  };

  host = lib.evalModules {
    specialArgs.pkgs = nixpkgs.legacyPackages.x86_64-linux.extend self.overlays.default;
    modules = [
      ../../vm-tests/nix/host.nix
      # Twice the same package is no contradiction.
      self.nixosModules.agent
      self.nixosModules.control-plane
      self.nixosModules.apps
      {
        services.tepui.agent.enable = true;
        services.tepui.control-plane.enable = true;
      }
    ];
  };
in
{
  inputs = lib.mapAttrs (_: input: input.url) flake.inputs;
  packages = builtins.attrNames self.packages.x86_64-linux;
  modules = builtins.attrNames self.nixosModules;
  checks = builtins.attrNames self.checks.x86_64-linux;
  start = host.config.systemd.services.tepui-agentd.serviceConfig.ExecStart;
}
