{
  description = "Tepui: a rack of Linux hosts as one computer, compatible with Mesos and Marathon";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    # What comes next, as a second column of checks.
    nixpkgs-unstable.url = "github:NixOS/nixpkgs/nixos-unstable";
  };

  outputs =
    {
      self,
      nixpkgs,
      nixpkgs-unstable,
    }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "aarch64-linux"
        "x86_64-linux"
      ];
      packagesOf = source: system: source.legacyPackages.${system}.extend self.overlays.default;
      forEach = f: lib.genAttrs systems (system: f (packagesOf nixpkgs system));

      # Imported by every module that needs the package, and there once for all.
      package = {
        key = "tepui: the package of the flake";
        imports = [
          (
            { lib, pkgs, ... }:
            {
              services.tepui.package = lib.mkDefault self.packages.${pkgs.stdenv.hostPlatform.system}.default;
            }
          )
        ];
      };
      withPackage = module: {
        imports = [
          module
          package
        ];
      };

      checksOf = import ./nixos-modules/checks.nix { inherit self lib; };
    in
    {
      overlays.default = final: _: { tepui = final.callPackage ./nixos-modules/package.nix { }; };

      packages = forEach (pkgs: {
        inherit (pkgs) tepui;
        default = pkgs.tepui;
      });

      nixosModules = {
        default = withPackage ./nixos-modules;
        control-plane = withPackage ./nixos-modules/control-plane.nix;
        agent = withPackage ./nixos-modules/agent.nix;
        apps = withPackage ./nixos-modules/apps.nix;
        monitoring = ./nixos-modules/monitoring.nix;
        former-options = ./nixos-modules/former-options.nix;
      };

      checks = lib.genAttrs systems (
        system:
        checksOf (packagesOf nixpkgs system)
        // lib.mapAttrs' (name: lib.nameValuePair "${name}-unstable") (
          checksOf (packagesOf nixpkgs-unstable system)
        )
      );

      devShells = forEach (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ pkgs.tepui ];
          packages = [
            pkgs.cargo-deny
            pkgs.clippy
            pkgs.deadnix
            pkgs.nixfmt
            pkgs.python3
            pkgs.rustfmt
          ];
          inherit (pkgs.tepui) CLANG;
        };
      });

      formatter = forEach (pkgs: pkgs.nixfmt-tree);
    };
}
