# A host whose units are those for hosts without Nix: every module as it is, nothing set.
{
  host = {
    services.tepui.control-plane.enable = true;
    services.tepui.agent.enable = true;
    services.tepui.apply = {
      enable = true;
      # The host's name, which systemd fills in.
      owner = "%H";
    };
  };
}
