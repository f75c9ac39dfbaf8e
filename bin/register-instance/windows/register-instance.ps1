<#
.SYNOPSIS
Registers this Windows EC2 instance as a managed node of the central account, and tags it with its node's id.

.DESCRIPTION
The same steps as register-instance on Linux. No Windows runs this script in the tests, which parse it and compare its
tables and the order of its steps with those of the program: try it on one instance before you give it to a fleet.

Requires PowerShell 5.1 run as administrator, the SSM Agent, and AWS Tools for PowerShell with the modules
AWS.Tools.SimpleSystemsManagement and AWS.Tools.EC2 (or AWSPowerShell, which the Windows images of Amazon have).

It takes the credentials of the instance profile from the instance metadata service and hands them to each cmdlet: a
registered agent leaves the central account's credentials in the SYSTEM profile, where the cmdlets would find them.

Exit codes are those of register-instance: 0 registered and tagged; 1 unexpected; 3 not administrator; 4 not EC2;
5 agent or AWS Tools missing; 6 activation missing or unreadable; 7 expired; 8 exhausted; 9 wrong activation;
10 registration failed; 11 the agent could not be stopped or started; 12 clone; 13 tag not written; 14 locked;
15 network; 17 the running agent does not use the registration; 18 registered with another hub;
19 the time of this machine is off.

.EXAMPLE
.\register-instance.ps1

.EXAMPLE
.\register-instance.ps1 -ActivationIdParameter ActivationID -ActivationCodeParameter ActivationCode -Region us-east-1
#>
[CmdletBinding(DefaultParameterSetName = 'Json')]
param(
    # The parameter with the activation, as the hub writes it.
    [Parameter(ParameterSetName = 'Json')] [string] $Parameter = '/tag-hub/activation',
    # The parameters of an activation that was made by hand.
    [Parameter(ParameterSetName = 'Pair', Mandatory)] [string] $ActivationIdParameter,
    [Parameter(ParameterSetName = 'Pair', Mandatory)] [string] $ActivationCodeParameter,
    # The Region of the hub.
    [ValidatePattern('^$|^[a-z]{2,4}(-[a-z]+)+-\d{1,2}$')] [string] $Region = '',
    # The central account. An activation of any other is refused.
    [ValidatePattern('^$|^\d{12}$')] [string] $HubAccount = '',
    # For how long what may pass is tried again.
    [ValidateRange(10, 3600)] [int] $TimeoutSeconds = 300,
    # Say what would be done, and change nothing.
    [switch] $DryRun
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# Not from the environment, which whoever starts this may have changed.
$ProgramData = [Environment]::GetFolderPath('CommonApplicationData')
$ProgramFiles = [Environment]::GetFolderPath('ProgramFiles')
$Data = Join-Path $ProgramData 'Amazon\SSM'
# Agents differ in where they keep the registration: the present ones under InstanceData, older ones beside it.
$Vaults = (Join-Path $Data 'InstanceData\Vault\Store\RegistrationKey'), (Join-Path $Data 'Vault\Store\RegistrationKey')
$Logs = Join-Path $Data 'Logs\amazon-ssm-agent.log'
$Registrations = (Join-Path $Data 'InstanceData\registration'), (Join-Path $Data 'registration')
# What the running agent took for its identity when it started.
$Runtime = Join-Path $Data 'runtimeconfig\identity_config.json'
$Folder = Join-Path $ProgramData 'TagHub'
$Marker = Join-Path $Folder 'registration.json'
$LockFile = Join-Path $Folder 'register-instance.lock'
# The groups of administrators and the system.
$Owners = 'S-1-5-32-544', 'S-1-5-18'
$Agent = Join-Path $ProgramFiles 'Amazon\SSM\amazon-ssm-agent.exe'
$Cli = Join-Path $ProgramFiles 'Amazon\SSM\ssm-cli.exe'
$Service = 'AmazonSSMAgent'
$NodePattern = 'mi-[0-9a-f]{17}'
$Imds = 'http://169.254.169.254/latest'
$RegisterSeconds = 60
# How long an agent that has just started is given to say that it is refused.
$SettleSeconds = 30
$Deadline = [datetime]::UtcNow.AddSeconds($TimeoutSeconds)
$IsPair = $PSCmdlet.ParameterSetName -eq 'Pair'

function Say([string] $Text) { Write-Host "register-instance: $Text" }

# The reason travels in the exception, so that whatever has to be done before the end is done.
function Fail([int] $Code, [string] $Text) {
    $problem = New-Object System.Exception $Text
    $problem.Data['ExitCode'] = $Code
    throw $problem
}

function Read-Json([string] $Path) {
    if (-not (Test-Path -LiteralPath $Path)) { return $null }
    try { return Get-Content -Raw -LiteralPath $Path | ConvertFrom-Json } catch { return $null }
}

# The value of a property, or nothing where there is no such property.
function Get-Field($Object, [string] $Name) {
    if ($null -ne $Object -and $Object.PSObject.Properties[$Name]) { return $Object.$Name }
    return $null
}

# Asks the metadata service, and never through a proxy.
function Invoke-Imds([string] $Method, [string] $Path, [string] $Header, [string] $Value) {
    $request = [System.Net.WebRequest]::CreateHttp("$Imds/$Path")
    $request.Method = $Method
    $request.Proxy = $null
    $request.Timeout = 5000
    if ($Method -eq 'PUT') { $request.ContentLength = 0 }
    $request.Headers.Add($Header, $Value)
    $response = $request.GetResponse()
    try { (New-Object System.IO.StreamReader $response.GetResponseStream()).ReadToEnd() } finally { $response.Close() }
}

function Get-Imds([string] $Path, [string] $Token) {
    Invoke-Imds 'GET' $Path 'X-aws-ec2-metadata-token' $Token
}

function Get-Identity {
    for ($try = 1; ; $try++) {
        try {
            $token = Invoke-Imds 'PUT' 'api/token' 'X-aws-ec2-metadata-token-ttl-seconds' '3600'
            $document = Get-Imds 'dynamic/instance-identity/document' $token | ConvertFrom-Json
            break
        } catch {
            if ($try -ge 4) { Fail 4 "the instance metadata service does not answer: $($_.Exception.Message)" }
            Wait-Again $try
        }
    }
    try {
        $role = ("$(Get-Imds 'meta-data/iam/security-credentials/' $token)" -split '\s+')[0]
        $keys = Get-Imds "meta-data/iam/security-credentials/$role" $token | ConvertFrom-Json
    } catch {
        Fail 6 'this instance has no instance profile; attach the one of Tag Hub (TagHubInstance)'
    }
    if ((Get-Field $keys 'Code') -eq 'AssumeRoleUnauthorizedAccess') {
        Fail 6 "EC2 cannot assume the role $role of the instance profile. Its trust policy must let ec2.amazonaws.com assume it"
    }
    [pscustomobject]@{
        Account = $document.accountId; Region = $document.region; Instance = $document.instanceId
        Credential = New-AWSCredential -AccessKey $keys.AccessKeyId -SecretKey $keys.SecretAccessKey -SessionToken $keys.Token
    }
}

# What the agent answers: the ID and the Region, or nothing.
function Get-AgentAnswer {
    if (-not (Test-Path -LiteralPath $Cli)) { return $null }
    # A line on its standard error would count as an error here.
    try { $answer = "$(& $Cli get-instance-information 2>$null)" } catch { return $null }
    if ($answer -notmatch '\{.*\}') { return $null }
    try { $json = $Matches[0] | ConvertFrom-Json } catch { return $null }
    [pscustomobject]@{ Id = "$(Get-Field $json 'instance-id')"; Region = "$(Get-Field $json 'region')" }
}

# What is on the disk: the first vault that is there counts. State: None, Node, Cleared or Unreadable.
function Get-Kept {
    foreach ($vault in $Vaults) {
        if (-not (Test-Path -LiteralPath $vault)) { continue }
        if ((Get-Item -LiteralPath $vault).Length -eq 0) { return [pscustomobject]@{ State = 'Cleared'; Id = ''; Region = '' } }
        $record = Read-Json $vault
        $id = Get-Field $record 'instanceID'
        if ($null -eq $record -or $null -eq $id) { return [pscustomobject]@{ State = 'Unreadable'; Id = ''; Region = '' } }
        if ($id -eq '') { return [pscustomobject]@{ State = 'Cleared'; Id = ''; Region = '' } }
        if ($id -notmatch "^$NodePattern`$") { return [pscustomobject]@{ State = 'Unreadable'; Id = ''; Region = '' } }
        return [pscustomobject]@{ State = 'Node'; Id = $id; Region = "$(Get-Field $record 'region')" }
    }
    return [pscustomobject]@{ State = 'None'; Id = ''; Region = '' }
}

# The node that this machine is registered as, and its Region. In doubt it counts as registered.
function Get-Registration {
    $answer = Get-AgentAnswer
    $kept = Get-Kept
    $isNode = $answer -and $answer.Id -match "^$NodePattern`$"
    if ($kept.State -eq 'Node') { return $kept }
    if ($isNode) { return [pscustomobject]@{ State = 'Node'; Id = $answer.Id; Region = $answer.Region } }
    $noted = Get-NotedNode
    if ($kept.State -eq 'Cleared' -or ($kept.State -eq 'None' -and $answer -and $answer.Id -like 'i-*')) { return $null }
    if ($noted) { return [pscustomobject]@{ State = 'Node'; Id = $noted; Region = '' } }
    if ($kept.State -eq 'Unreadable') {
        Fail 17 'the vault of the agent cannot be read, so this machine may be registered. Nothing was changed. Clear it by hand'
    }
    return $null
}

# When the process of the agent's service started, in UTC, or nothing where it does not run.
function Get-AgentStart {
    if ((Get-Service -Name $Service).Status -ne 'Running') { return $null }
    try {
        $process = (Get-CimInstance -ClassName Win32_Service -Filter "Name='$Service'").ProcessId
        return (Get-Process -Id $process).StartTime.ToUniversalTime()
    } catch { return $null }
}

# The end of the agent's log, along with that of the file that it was last rotated into.
function Get-LogLines {
    if (-not (Test-Path -LiteralPath $Logs)) { return @() }
    $rotated = Get-ChildItem -Path "$Logs*" -File | Where-Object { $_.FullName -ne $Logs -and $_.Name -notmatch '\.(gz|zip|7z)$' } | Sort-Object LastWriteTime | Select-Object -Last 1
    $earlier = if ($rotated) { Get-Content -LiteralPath $rotated.FullName -Tail 2000 } else { @() }
    return @($earlier) + @(Get-Content -LiteralPath $Logs -Tail 2000)
}

# The entries of the agent that runs: those from before it started are about another process, and what plugins print is
# not its own. The log has local times. A line without one goes on with the entry before it.
function Get-Entries([datetime] $Since) {
    $entries = New-Object System.Collections.ArrayList
    $isOwn = $false
    $local = [System.Globalization.DateTimeStyles]::AssumeLocal -bor [System.Globalization.DateTimeStyles]::AdjustToUniversal
    foreach ($line in Get-LogLines) {
        if ($line -match '^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(\.\d+)? (TRACE|DEBUG|INFO|WARN|ERROR|CRITICAL) ') {
            $time = [datetime]::ParseExact($Matches[1], 'yyyy-MM-dd HH:mm:ss', [cultureinfo]::InvariantCulture, $local)
            $isOwn = $time -ge $Since.AddSeconds(-1) -and $line -notmatch '\[ssm-document-worker\]|\[ssm-session-worker\]|\[aws:|PluginName'
            if ($isOwn) { [void] $entries.Add([pscustomobject]@{ First = $line; Whole = $line }) }
        } elseif ($isOwn) {
            $entries[$entries.Count - 1].Whole += ' ' + $line.Trim()
        }
    }
    return $entries
}

# How the agent that runs stands with Systems Manager, by the last entry of its log that says so: Silent, Starting,
# NotAsked, NotShared, Ready, Refused or Unreachable. The agent speaks on the first line of an entry, and AWS on the others.
function Get-Standing([datetime] $Since) {
    $state = 'Silent'; $said = ''; $isShared = $true; $isOfEc2 = $false
    foreach ($entry in Get-Entries $Since) {
        $first = $entry.First; $whole = $entry.Whole
        $isIdentity = $first -match 'Retrieve credentials produced|failed to refresh credentials|returned from AWS API|\[CredentialRefresher\]|\[OnPremCredsProvider\]|\[HealthCheck\]|\[Messag|RequestManagedInstanceRoleToken|UpdateInstanceInformation'
        if ($first -match 'Credentials exist and have not expired') { $state = 'NotAsked' }
        elseif ($first -match 'Credentials ready') { $state = if ($isShared) { 'Ready' } else { 'NotShared' } }
        elseif ($first -match 'Starting Core Agent|Successfully registered the instance') { $state = 'Starting'; $isShared = $true; $isOfEc2 = $false }
        elseif ($first -match 'Set up control channel successfully|Successfully opened websocket connection to') { if ($state -ne 'Refused') { $state = 'Ready' } }
        elseif ($first -match 'Identity does not want core agent to rotate credentials') { $isShared = $false }
        elseif ($first -match 'Starting credentials refresher loop') { if ($state -eq 'Ready') { $state = 'NotAsked' } }
        elseif ($whole -match 'EC2Identity|EC2RoleProvider|ec2 identity|Default Host Management|IIRRoleProvider') { $isOfEc2 = $true }
        elseif ($isIdentity -and $whole -match 'Signature expired|Signature not yet current|RequestExpired|RequestTimeTooSkewed|certificate has expired or is not yet valid') { $state = 'Refused'; $said = $whole }
        elseif ($first -match 'Cannot connect to AWS Systems Manager' -and $whole -match 'has changed from the registered value|has changed more than the allowed threshold') { $state = 'Refused'; $said = $whole }
        elseif ($first -match 'MachineFingerprintDoesNotMatch' -or ($isIdentity -and $whole -match 'MachineFingerprintDoesNotMatch')) { $state = 'Refused'; $said = $whole }
        elseif ($isIdentity -and $whole -match 'AccessDenied|InvalidInstanceId|UnrecognizedClient|InvalidSignature|InvalidClientTokenId' -and $whole -notmatch 'assumed-role/.*/mi-') { $state = 'Refused'; $said = $whole }
        elseif ($first -match 'Retrieve credentials produced|failed to refresh credentials') { $state = 'Unreachable'; $said = $whole; $isOfEc2 = $false }
        elseif ($first -match 'returned from AWS API|before retrying retrieve credentials') { if ($state -notin 'Refused', 'Unreachable' -and -not $isOfEc2) { $state = 'Unreachable'; $said = $whole } }
    }
    return [pscustomobject]@{ State = $state; Line = $said }
}

# A time of the agent's notes, in UTC; nothing where there is none. PowerShell 7 makes a time of it by itself.
function Get-Time($Object, [string] $Name) {
    $time = Get-Field $Object $Name
    if ($time -is [datetime]) { return $time.ToUniversalTime() }
    try { return [datetimeoffset]::Parse("$time", [cultureinfo]::InvariantCulture).UtcDateTime } catch { return $null }
}

# What the agent noted about its credentials, as Fresh (got since it started, and still good), Old (from before), Expired,
# or Unknown.
function Get-Credentials($Noted, $Since, [string] $State) {
    $retrieved = Get-Time $Noted 'CredentialsRetrievedAt'
    $expires = Get-Time $Noted 'CredentialsExpiresAt'
    if (-not $Since -or -not $retrieved -or -not $expires -or $State -eq 'NotShared') { return 'Unknown' }
    if ($expires -le [datetime]::UtcNow) { return 'Expired' }
    if ($retrieved -gt $Since) { return 'Fresh' }
    return 'Old'
}

# Waits until the running agent says that it is this node in this Region, and Systems Manager has accepted it since it
# started. If nothing shows that after a while, and nothing speaks against it, that is said.
function Confirm-InUse([string] $Node, [string] $HubRegion) {
    for ($try = 1; ; $try++) {
        $start = Get-AgentStart
        $standing = if ($start) { Get-Standing $start } else { [pscustomobject]@{ State = 'Stopped'; Line = '' } }
        if ($standing.State -eq 'Refused' -and $standing.Line -match 'Signature expired|Signature not yet current|RequestExpired|RequestTimeTooSkewed|not yet valid') {
            Fail 19 "registered as $Node, but the time of this machine is refused. Set the clock (w32tm /resync), and run this again. The agent's log says: $($standing.Line)"
        }
        if ($standing.State -eq 'Refused') { Fail 17 "registered as $Node, but Systems Manager refuses the agent. The tag was not written. Its log says: $($standing.Line)" }
        $runtime = Read-Json $Runtime
        # If the vault holds another node than the agent was started as, ssm-cli answers with that of the vault.
        $runningAs = Get-Field $runtime 'InstanceId'
        $isHalfWritten = -not $runningAs -and (Test-Path -LiteralPath $Runtime)
        $credentials = Get-Credentials $runtime $start $standing.State
        $isProven = $credentials -ne 'Expired' -and ($standing.State -eq 'Ready' -or ($credentials -eq 'Fresh' -and $standing.State -ne 'Unreachable'))
        $isSettled = $start -and ([datetime]::UtcNow - $start).TotalSeconds -ge $SettleSeconds
        $isOpen = $isSettled -and $credentials -eq 'Unknown' -and $standing.State -notin 'Unreachable', 'NotAsked'
        $answer = Get-AgentAnswer
        $isNode = -not $isHalfWritten -and (-not $runningAs -or $runningAs -eq $Node) -and $answer -and $answer.Id -eq $Node -and $answer.Region -and (-not $HubRegion -or $answer.Region -eq $HubRegion)
        if ($isNode -and $isProven) { return }
        if ($isNode -and $isOpen) {
            Say "the agent says that it is $Node, but nothing here proves that Systems Manager accepts it: look in the central account whether it is Online"
            return
        }
        if ([datetime]::UtcNow -ge $Deadline) {
            $said = if ($isHalfWritten) { "$Runtime does not say as which node it was started" } elseif ($runningAs -and $runningAs -ne $Node) { "it was started as $runningAs" } elseif ($answer -and -not $isNode) { "it answers $($answer.Id) in $($answer.Region)" } elseif (-not $answer) { 'it answers nothing' } else { "its log says '$($standing.State)' $($standing.Line), and its credentials are '$credentials'" }
            Fail 17 "registered as $Node, but the running agent does not use that: $said. The tag was not written. Restart the service $Service and run this again"
        }
        Wait-Again $try
    }
}

# Pauses that grow to 15 seconds, less up to half by chance.
function Wait-Again([int] $Try) {
    $full = [math]::Min([math]::Pow(2, [math]::Min($Try, 5) - 1), 15)
    Start-Sleep -Milliseconds ([int](1000 * $full * (1 - (Get-Random -Minimum 0.0 -Maximum 0.5))))
}

function Get-NotedNode {
    foreach ($file in $Registrations) {
        $noted = Get-Field (Read-Json $file) 'ManagedInstanceID'
        if ($noted -match "^$NodePattern`$") { return $noted }
    }
    return $null
}

function Get-ParameterText($Identity, [string] $Name) {
    try {
        return (Get-SSMParameter -Name $Name -WithDecryption $true -Region $Identity.Region -Credential $Identity.Credential).Value
    } catch {
        Fail 6 "cannot read parameter $Name in account $($Identity.Account), $($Identity.Region): $($_.Exception.Message)"
    }
}

# The activation in the parameter, without a look at whom it is for.
function Read-Activation($Identity) {
    $text = Get-ParameterText $Identity $Parameter
    # The error of ConvertFrom-Json shows what it was given.
    try { $json = $text | ConvertFrom-Json } catch { Fail 6 "parameter $Parameter is not JSON" }
    foreach ($name in 'ActivationId', 'ActivationCode', 'Region', 'ExpirationDate', 'Account') {
        if (-not (Get-Field $json $name)) { Fail 6 "parameter $Parameter does not hold an activation: $name is missing" }
    }
    return $json
}

function Get-Activation($Identity) {
    if ($IsPair) {
        $code = (Get-ParameterText $Identity $ActivationCodeParameter).Trim()
        $id = (Get-ParameterText $Identity $ActivationIdParameter).Trim()
        $hub = if ($Region) { $Region } else { $Identity.Region }
        if ($HubAccount) { Fail 9 "these parameters do not say in which account they register, and -HubAccount asks for $HubAccount" }
        $activation = [pscustomobject]@{ Id = $id; Code = $code; Region = $hub; HubAccount = '' }
    } else {
        $json = Read-Activation $Identity
        if ($json.Account -ne $Identity.Account) {
            Fail 9 "the activation in $Parameter is made for account $($json.Account), and this instance is in $($Identity.Account). Nothing was changed"
        }
        $hubOf = Get-Field $json 'HubAccount'
        if ($HubAccount -and $hubOf -ne $HubAccount) {
            Fail 9 "the activation in $Parameter registers in account '$hubOf', and -HubAccount asks for $HubAccount. Nothing was changed"
        }
        if ($Region -and $json.Region -ne $Region) {
            Fail 9 "the activation in $Parameter is for Region $($json.Region), and -Region asks for $Region. Nothing was changed"
        }
        # PowerShell 7 makes a time of it by itself.
        $end = if ($json.ExpirationDate -is [datetime]) { $json.ExpirationDate } else { [datetime]::Parse($json.ExpirationDate, [cultureinfo]::InvariantCulture) }
        if ($end.ToUniversalTime() -le [datetime]::UtcNow) {
            Fail 7 "the activation in $Parameter expired at $($json.ExpirationDate). Have central IT invoke activation-issuer for $($Identity.Account), and run this again"
        }
        $activation = [pscustomobject]@{ Id = $json.ActivationId; Code = $json.ActivationCode; Region = $json.Region; HubAccount = "$hubOf" }
    }
    if ($activation.Id -notmatch '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$') { Fail 6 'the activation id is not a UUID' }
    if ($activation.Code -notmatch '^[\x21\x23-\x5b\x5d-\x7e]{20,250}$') { Fail 6 'the activation code has characters that it cannot have, or is too short' }
    return $activation
}

# The hub that a registered machine is to be a node of: by the parameters of this run, by the activation if that is for
# this account, and otherwise by the note of the registration.
function Get-Hub($Identity, $Registration, $Mark) {
    $known = if ($Region) { $Region } elseif ($IsPair) { $Identity.Region } else { '' }
    if ($known -and -not $HubAccount) { return [pscustomobject]@{ Region = $known; Account = '' } }
    if ($IsPair) { Fail 9 "these parameters do not say in which account they register, and -HubAccount asks for $HubAccount" }
    $problem = "the activation in $Parameter is made for another account, or does not name its hub"
    $code = 9
    try { $json = Read-Activation $Identity } catch {
        $json = $null
        $problem = $_.Exception.Message
        $code = if ($_.Exception.Data.Contains('ExitCode')) { $_.Exception.Data['ExitCode'] } else { 1 }
    }
    $hubOf = "$(Get-Field $json 'HubAccount')"
    if ($HubAccount -and $hubOf -and $hubOf -ne $HubAccount) {
        Fail 9 "the activation in $Parameter registers in account '$hubOf', and -HubAccount asks for $HubAccount. Nothing was changed"
    }
    if ($json -and $json.Account -eq $Identity.Account -and (-not $HubAccount -or $hubOf)) {
        return [pscustomobject]@{ Region = $(if ($known) { $known } else { $json.Region }); Account = $hubOf }
    }
    if (-not $known) { $known = "$(Get-Field $Mark 'hubRegion')" }
    $noted = "$(Get-Field $Mark 'hubAccount')"
    if ($known -and (-not $HubAccount -or $noted -eq $HubAccount)) { return [pscustomobject]@{ Region = $known; Account = $noted } }
    Fail $code "this machine is registered as $($Registration.Id) in $($Registration.Region), and nothing says whether that is the hub's: $problem. The tag was not written. If it is, name the hub's Region with -Region"
}

function Start-Agent {
    for ($try = 1; ; $try++) {
        try { Start-Service -Name $Service; return } catch {
            if ($try -ge 3) { Fail 11 "the agent could not be started: $($_.Exception.Message). Start the service $Service" }
            Start-Sleep -Seconds 2
        }
    }
}

# The variables of the agent's service: those of the machine, and over them those of the service itself.
function Get-ServiceEnvironment {
    $windows = [Environment]::GetFolderPath('Windows')
    $variables = @{}
    foreach ($variable in [Environment]::GetEnvironmentVariables('Machine').GetEnumerator()) { $variables[$variable.Key] = "$($variable.Value)" }
    # Windows gives these to every process; they are not among those of the machine.
    $variables['SystemRoot'] = $windows
    $variables['SystemDrive'] = [System.IO.Path]::GetPathRoot($windows).TrimEnd('\')
    $variables['ProgramData'] = $ProgramData
    $variables['ProgramFiles'] = $ProgramFiles
    $own = Get-Field (Get-ItemProperty -LiteralPath "HKLM:\SYSTEM\CurrentControlSet\Services\$Service") 'Environment'
    foreach ($line in @($own | Where-Object { $_ })) {
        $name, $value = $line -split '=', 2
        if ($name) { $variables[$name] = "$value" }
    }
    return $variables
}

# Runs the agent with its standard input closed: one that holds a registration asks, gets no answer, and leaves it.
function Invoke-Registration($Activation) {
    $start = New-Object System.Diagnostics.ProcessStartInfo
    $start.FileName = $Agent
    $start.Arguments = "-register -code `"$($Activation.Code)`" -id $($Activation.Id) -region $($Activation.Region)"
    $start.UseShellExecute = $false
    # What the service has, and nothing of the shell: no keys, certificates or proxies of whoever runs this.
    $start.EnvironmentVariables.Clear()
    foreach ($variable in (Get-ServiceEnvironment).GetEnumerator()) { $start.EnvironmentVariables[$variable.Key] = $variable.Value }
    $start.RedirectStandardInput = $start.RedirectStandardOutput = $start.RedirectStandardError = $true
    $process = [System.Diagnostics.Process]::Start($start)
    $process.StandardInput.Close()
    $out = $process.StandardOutput.ReadToEndAsync()
    $err = $process.StandardError.ReadToEndAsync()
    $left = [math]::Max(10, ($Deadline - [datetime]::UtcNow).TotalSeconds)
    $ended = $process.WaitForExit([int](1000 * [math]::Min($RegisterSeconds, $left)))
    if (-not $ended) { $process.Kill(); $process.WaitForExit() }
    $text = ($out.Result + "`n" + $err.Result).Replace($Activation.Code, '***')
    [pscustomobject]@{ IsSuccess = $ended -and $process.ExitCode -eq 0; Text = $text.Trim() }
}

function Register-Node($Activation) {
    # Started in every case, whatever happens in between.
    try {
        try { Stop-Service -Name $Service -Force } catch { Fail 11 "the agent could not be stopped: $($_.Exception.Message)" }
        $result = Invoke-Registration $Activation
    } finally {
        Start-Agent
    }
    if (-not $result.IsSuccess) { return [pscustomobject]@{ Node = $null; Text = $result.Text } }
    $named = @()
    if ($result.Text -match "Successfully registered.*?($NodePattern)") { $named += $Matches[1] }
    $named += (Get-Kept).Id
    $named += Get-NotedNode
    $named = @($named | Where-Object { $_ } | Select-Object -Unique)
    if ($named.Count -ne 1) { Fail 10 "the agent reports success, but names $($named.Count) nodes: $named. Run this again" }
    return [pscustomobject]@{ Node = $named[0]; Text = $result.Text }
}

# The exit code of a refusal, or 0 for what may pass: the network, throttling, and words that nobody knows.
function Get-Refusal([string] $Text) {
    switch -Regex -CaseSensitive ($Text) {
        'ActivationExpired' { return 7 }
        'RegistrationLimitExceeded' { return 8 }
        'InvalidActivation' { return 9 }
        'Instance already registered|InstanceAlreadyRegistered' { return 10 }
        'Unable to save registration information|error persisting the instance registration information' { return 10 }
        'flag provided but not defined|InvalidPublicKey|ValidationException' { return 10 }
        'UnsupportedPlatformType|AccessDenied|UnrecognizedClient|InvalidClientTokenId|OptInRequired' { return 10 }
        'certificate has expired or is not yet valid' { return 19 }
        'x509: ' { return 10 }
    }
    return 0
}

# Tries until it is registered, another try is of no use, or the time is up.
function Register-Patiently($Identity, $Activation) {
    $isReadAgain = $false
    for ($try = 1; ; $try++) {
        $result = Register-Node $Activation
        if ($result.Node) { return $result.Node }
        $refusal = Get-Refusal $result.Text
        if ($refusal -in 7, 8, 9 -and -not $isReadAgain) {
            # The hub may have renewed it in the meantime.
            $isReadAgain = $true
            $renewed = Get-Activation $Identity
            if ($renewed.Code -ne $Activation.Code -or $renewed.Id -ne $Activation.Id) { $Activation = $renewed; continue }
        }
        if ($refusal -ne 0) { Fail $refusal "the agent did not register: $($result.Text)" }
        if ([datetime]::UtcNow -ge $Deadline) { Fail 15 "not registered within $TimeoutSeconds seconds, after $try tries: $($result.Text)" }
        Wait-Again $try
        $kept = Get-Kept
        # A try that got no answer may have reached its end all the same.
        if ($kept.State -eq 'Node') { return $kept.Id }
    }
}

# Makes the folder for the lock and the note. Everybody may make folders in ProgramData, so one that is a link, or of
# somebody who is no administrator, is refused, and nobody else may write to ours.
function Protect-Folder {
    $isNew = -not (Test-Path -LiteralPath $Folder)
    if ($isNew) { New-Item -ItemType Directory -Path $Folder | Out-Null }
    $item = Get-Item -LiteralPath $Folder -Force
    if (-not $item.PSIsContainer -or $item.Attributes -band [System.IO.FileAttributes]::ReparsePoint) {
        Fail 1 "$Folder is not a folder, or is a link. Remove it, and run this again"
    }
    $owner = (Get-Acl -LiteralPath $Folder).GetOwner([System.Security.Principal.SecurityIdentifier]).Value
    if (-not $isNew -and $owner -notin $Owners) {
        Fail 1 "$Folder belongs to $owner, who is no administrator. Look at what is in it, remove it, and run this again"
    }
    $acl = New-Object System.Security.AccessControl.DirectorySecurity
    $acl.SetOwner((New-Object System.Security.Principal.SecurityIdentifier $Owners[0]))
    $acl.SetAccessRuleProtection($true, $false)
    foreach ($sid in $Owners) {
        $who = New-Object System.Security.Principal.SecurityIdentifier $sid
        $acl.AddAccessRule((New-Object System.Security.AccessControl.FileSystemAccessRule($who, 'FullControl', 'ContainerInherit, ObjectInherit', 'None', 'Allow')))
    }
    Set-Acl -LiteralPath $Folder -AclObject $acl
    # Between the two, others could have put something in.
    if ($isNew -and (Get-ChildItem -LiteralPath $Folder -Force)) {
        Fail 1 "something was put into $Folder while it was made. Remove it, and run this again"
    }
}

# Two runs at once would stop the agent under each other. The system closes the file when this ends, however it ends.
function Enter-Lock {
    try { return [System.IO.File]::Open($LockFile, 'OpenOrCreate', 'ReadWrite', 'None') } catch [System.IO.IOException] {
        Fail 14 "another run is at work on this machine: it holds $LockFile"
    }
}

function Write-Marker($Identity, [string] $Node, [string] $HubRegion, [string] $HubOf) {
    $note = @{
        managedInstanceId = $Node; ec2InstanceId = $Identity.Instance; account = $Identity.Account
        region = $Identity.Region; hubRegion = $HubRegion; registeredAt = [datetime]::UtcNow.ToString('yyyy-MM-ddTHH:mm:ssZ')
    }
    if ($HubOf) { $note['hubAccount'] = $HubOf }
    $text = $note | ConvertTo-Json
    # Beside it and then in its place, so that nobody ever reads half of it.
    [System.IO.File]::WriteAllText("$Marker.new", $text)
    Move-Item -LiteralPath "$Marker.new" -Destination $Marker -Force
}

function Write-Tag($Identity, [string] $Node) {
    try {
        New-EC2Tag -Resource $Identity.Instance -Tag @{ Key = 'managedinstanceid'; Value = $Node } `
            -Region $Identity.Region -Credential $Identity.Credential
    } catch {
        $advice = if ("$($_.Exception.Message)" -match 'TagLimitExceeded') { 'The instance has 50 tags, which is all that EC2 allows: remove one; then run this again' } else { 'Run this again' }
        Fail 13 "registered as $Node, but the tag managedinstanceid could not be written: $($_.Exception.Message). $advice"
    }
}

function Invoke-Run {
    if (-not (Test-Path -LiteralPath $Agent)) { Fail 5 "the agent is not installed: there is no $Agent" }
    foreach ($cmdlet in 'New-AWSCredential', 'Get-SSMParameter', 'New-EC2Tag') {
        if (-not (Get-Command $cmdlet -ErrorAction SilentlyContinue)) { Fail 5 "AWS Tools for PowerShell are not installed: there is no $cmdlet" }
    }

    $identity = Get-Identity
    Say "this is $($identity.Instance) in account $($identity.Account), $($identity.Region)"
    $registration = Get-Registration
    if ($registration) {
        $node = $registration.Id
        $mark = Read-Json $Marker
        $isMarked = (Get-Field $mark 'managedInstanceId') -eq $node
        if ($isMarked -and (Get-Field $mark 'ec2InstanceId') -ne $identity.Instance) {
            Fail 12 ("this machine carries the registration of another: $node belongs to $($mark.ec2InstanceId). Nothing was changed. " +
                "Clear what the image carried and run this again: Stop-Service $Service; & '$Agent' -register -clear; " +
                "Remove-Item '$($Registrations -join "', '")', '$Marker' -ErrorAction SilentlyContinue; Start-Service $Service")
        }
        $noted = if ($isMarked) { $mark } else { $null }
        $hub = Get-Hub $identity $registration $noted
        $registeredWith = "$(Get-Field $noted 'hubAccount')"
        if (($registration.Region -and $registration.Region -ne $hub.Region) -or ($registeredWith -and $hub.Account -and $registeredWith -ne $hub.Account)) {
            Fail 18 "this machine is registered as $node in $($registration.Region), and the hub is in $($hub.Region) of account $($hub.Account). Nothing was changed"
        }
        if ($DryRun) { Say "registered as $node; would ask the agent and write the tag"; return }
        if ((Get-Service -Name $Service).Status -ne 'Running') { Say 'the agent does not run; starting it'; Start-Agent }
        Confirm-InUse $node $hub.Region
        # Nothing here says in which account a node is that was registered by other means.
        if (-not $isMarked) { Write-Marker $identity $node $hub.Region '' }
        if ($HubAccount -and -not $registeredWith) { Say "$node was registered by other means, so nothing here says that it is in account $HubAccount" }
        Write-Tag $identity $node
        Say "$($identity.Instance) was registered as $node before; its tag is written"
        return
    }

    $activation = Get-Activation $identity
    if ($DryRun) { Say "would stop the agent, register it with activation $($activation.Id) in $($activation.Region), start it, ask it, and write the tag"; return }
    $node = Register-Patiently $identity $activation
    Say "registered as $node; asking the agent"
    Write-Marker $identity $node $activation.Region $activation.HubAccount
    Confirm-InUse $node $activation.Region
    Write-Tag $identity $node
    Say "$($identity.Instance) is now registered as $node, and tagged"
}

$lock = $null
$exitCode = 0
try {
    $principal = [Security.Principal.WindowsPrincipal][Security.Principal.WindowsIdentity]::GetCurrent()
    if (-not $principal.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) { Fail 3 'run this as administrator' }
    # A dry run changes nothing, and so needs none of this.
    if (-not $DryRun) {
        Protect-Folder
        $lock = Enter-Lock
    }
    Invoke-Run
} catch {
    $exitCode = if ($_.Exception.Data.Contains('ExitCode')) { $_.Exception.Data['ExitCode'] } else { 1 }
    [Console]::Error.WriteLine("register-instance: $($_.Exception.Message)")
} finally {
    if ($lock) { $lock.Dispose() }
}
exit $exitCode
