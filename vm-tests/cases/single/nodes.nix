_: {
  one = {
    imports = [ ../../nix/reachable.nix ];
    services.tepui.control-plane.enable = true;
    services.tepui.agent = {
      enable = true;
      settings.launcher = "process";
    };
    services.tepui.apps."/declared" = {
      cmd = "exec sleep 86400";
      cpus = 0.1;
      mem = 16;
    };
  };
}
