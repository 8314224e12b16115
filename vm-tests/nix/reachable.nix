# What hosts of cases have in common: daemons that other hosts reach, and what agents offer, the same
# on every machine.
{ lib, pkgs, ... }:
let
  inherit (lib) mkDefault;
in
{
  services.tepui.control-plane = {
    openFirewall = mkDefault true;
    settings = {
      listen = mkDefault "0.0.0.0:5050";
      marathon_listen = mkDefault "0.0.0.0:8080";
      agent_listen = mkDefault "0.0.0.0:5052";
      allow_unauthenticated = true;
    };
  };
  services.tepui.agent = {
    openFirewall = mkDefault true;
    settings = {
      listen = mkDefault "0.0.0.0:5051";
      resources = mkDefault "cpus:4;mem:2048;disk:4096;ports:[31000-31099]";
      allow_unauthenticated = true;
    };
    # What tasks of cases are made of.
    taskPackages = [
      pkgs.busybox
      pkgs.python3
    ];
    taskPorts = mkDefault {
      from = 31000;
      to = 31099;
    };
  };
}
