# What all modules share: the package.
{ lib, pkgs, ... }:
{
  options.services.tepui.package = lib.mkPackageOption pkgs "tepui" { } // {
    description = ''
      The package with the daemons and the command `tepui`, for whatever names no package of its own.
    '';
  };
}
