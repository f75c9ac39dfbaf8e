<#
.SYNOPSIS
Registers this Windows EC2 instance as a managed node of the central account, and tags it with its node's id.

.DESCRIPTION
The same steps as register-instance on Linux. This script is NOT tried in CI, which has no Windows: try it on one
instance before you give it to a fleet.

Requires PowerShell 5.1 run as administrator, the SSM Agent, and AWS Tools for PowerShell with the modules
AWS.Tools.SimpleSystemsManagement and AWS.Tools.EC2 (or AWSPowerShell, which the Windows images of Amazon have).

It takes the credentials of the instance profile from the instance metadata service and hands them to each cmdlet: a
registered agent leaves the central account's credentials in the SYSTEM profile, where the cmdlets would find them.

Exit codes are those of register-instance: 0 registered and tagged; 1 unexpected; 3 not administrator; 4 not EC2;
5 agent or AWS Tools missing; 6 activation missing or unreadable; 7 expired; 8 exhausted; 9 wrong activation;
10 registration failed; 11 the agent could not be stopped or started; 12 clone; 13 tag not written; 14 locked;
15 network.

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
    # Say what would be done, and change nothing.
    [switch] $DryRun
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$Data = Join-Path $env:ProgramData 'Amazon\SSM'
$Vault = Join-Path $Data 'Vault\Store\RegistrationKey'
# Agents differ in where they note the registration.
$Registrations = (Join-Path $Data 'InstanceData\registration'), (Join-Path $Data 'registration')
$Marker = Join-Path $env:ProgramData 'TagHub\registration.json'
$Agent = Join-Path $env:ProgramFiles 'Amazon\SSM\amazon-ssm-agent.exe'
$Cli = Join-Path $env:ProgramFiles 'Amazon\SSM\ssm-cli.exe'
$Service = 'AmazonSSMAgent'
$NodePattern = 'mi-[0-9a-f]{17}'
$Imds = 'http://169.254.169.254/latest'
$RegisterSeconds = 60
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

function Get-Imds([string] $Path, [string] $Token) {
    Invoke-RestMethod -Uri "$Imds/$Path" -Headers @{ 'X-aws-ec2-metadata-token' = $Token } -TimeoutSec 5
}

function Get-Identity {
    for ($try = 1; ; $try++) {
        try {
            $token = Invoke-RestMethod -Method Put -Uri "$Imds/api/token" -TimeoutSec 5 `
                -Headers @{ 'X-aws-ec2-metadata-token-ttl-seconds' = '3600' }
            $document = Get-Imds 'dynamic/instance-identity/document' $token
            break
        } catch {
            if ($try -ge 4) { Fail 4 "the instance metadata service does not answer: $($_.Exception.Message)" }
            Start-Sleep -Seconds ([math]::Pow(2, $try))
        }
    }
    try {
        $role = ("$(Get-Imds 'meta-data/iam/security-credentials/' $token)" -split '\s+')[0]
        $keys = Get-Imds "meta-data/iam/security-credentials/$role" $token
    } catch {
        Fail 6 'this instance has no instance profile; attach the one of Tag Hub (TagHubInstance)'
    }
    [pscustomobject]@{
        Account = $document.accountId; Region = $document.region; Instance = $document.instanceId
        Credential = New-AWSCredential -AccessKey $keys.AccessKeyId -SecretKey $keys.SecretAccessKey -SessionToken $keys.Token
    }
}

# The node that this machine is registered as. The vault is what the agent goes by; the file outlives it.
function Get-RegisteredNode {
    $answered = $null
    $isEc2 = $false
    if (Test-Path -LiteralPath $Cli) {
        # A line on its standard error would count as an error here.
        try { $answer = "$(& $Cli get-instance-information 2>$null)" } catch { $answer = '' }
        if ($answer -match "`"instance-id`"\s*:\s*`"($NodePattern)`"") { $answered = $Matches[1] }
        $isEc2 = $answer -match '"instance-id"\s*:\s*"i-'
    }
    $hasVault = Test-Path -LiteralPath $Vault
    $record = Read-Json $Vault
    $kept = Get-Field $record 'instanceID'
    # A vault that cannot be read says nothing; an empty one says that there is no registration.
    $isUnread = $hasVault -and -not $record -and (Get-Item -LiteralPath $Vault).Length -gt 0
    if ($isUnread -or ($kept -and $kept -notmatch "^$NodePattern`$")) { $kept = $null; $isUnknown = $true } else { $isUnknown = $false }
    if ($answered -and $kept -and $answered -ne $kept) {
        Fail 10 "the agent answers $answered and keeps $kept. Nothing was changed. Restart the agent and run this again"
    }
    if ($answered) { return $answered }
    if ($kept) { return $kept }
    if (($hasVault -and -not $isUnknown) -or ($isEc2 -and -not $hasVault)) { return $null }
    return Get-NotedNode
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

function Get-Activation($Identity) {
    if ($IsPair) {
        $code = (Get-ParameterText $Identity $ActivationCodeParameter).Trim()
        $id = (Get-ParameterText $Identity $ActivationIdParameter).Trim()
        $hub = if ($Region) { $Region } else { $Identity.Region }
        $activation = [pscustomobject]@{ Id = $id; Code = $code; Region = $hub }
    } else {
        $text = Get-ParameterText $Identity $Parameter
        # The error of ConvertFrom-Json shows what it was given.
        try { $json = $text | ConvertFrom-Json } catch { Fail 6 "parameter $Parameter is not JSON" }
        foreach ($name in 'ActivationId', 'ActivationCode', 'Region', 'ExpirationDate', 'Account') {
            if (-not (Get-Field $json $name)) { Fail 6 "parameter $Parameter does not hold an activation: $name is missing" }
        }
        if ($json.Account -ne $Identity.Account) {
            Fail 9 "the activation in $Parameter is made for account $($json.Account), and this instance is in $($Identity.Account). Nothing was changed"
        }
        if ($Region -and $json.Region -ne $Region) {
            Fail 9 "the activation in $Parameter is for Region $($json.Region), and -Region asks for $Region. Nothing was changed"
        }
        # PowerShell 7 makes a time of it by itself.
        $end = if ($json.ExpirationDate -is [datetime]) { $json.ExpirationDate } else { [datetime]::Parse($json.ExpirationDate, [cultureinfo]::InvariantCulture) }
        if ($end.ToUniversalTime() -le [datetime]::UtcNow) {
            Fail 7 "the activation in $Parameter expired at $($json.ExpirationDate). Have central IT invoke activation-issuer for $($Identity.Account), and run this again"
        }
        $activation = [pscustomobject]@{ Id = $json.ActivationId; Code = $json.ActivationCode; Region = $json.Region }
    }
    if ($activation.Id -notmatch '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$') { Fail 6 'the activation id is not a UUID' }
    if ($activation.Code -notmatch '^[\x21\x23-\x5b\x5d-\x7e]{20,250}$') { Fail 6 'the activation code has characters that it cannot have, or is too short' }
    return $activation
}

function Start-Agent {
    for ($try = 1; ; $try++) {
        try { Start-Service -Name $Service; return } catch {
            if ($try -ge 3) { Fail 11 "the agent could not be started: $($_.Exception.Message). Start the service $Service" }
            Start-Sleep -Seconds 2
        }
    }
}

# Runs the agent with its standard input closed: one that holds a registration asks, gets no answer, and leaves it.
function Invoke-Registration($Activation) {
    $start = New-Object System.Diagnostics.ProcessStartInfo
    $start.FileName = $Agent
    $start.Arguments = "-register -code `"$($Activation.Code)`" -id $($Activation.Id) -region $($Activation.Region)"
    $start.UseShellExecute = $false
    $start.RedirectStandardInput = $start.RedirectStandardOutput = $start.RedirectStandardError = $true
    $process = [System.Diagnostics.Process]::Start($start)
    $process.StandardInput.Close()
    $out = $process.StandardOutput.ReadToEndAsync()
    $err = $process.StandardError.ReadToEndAsync()
    $ended = $process.WaitForExit($RegisterSeconds * 1000)
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
    $named += Get-Field (Read-Json $Vault) 'instanceID'
    $named += Get-NotedNode
    $named = @($named | Where-Object { $_ } | Select-Object -Unique)
    if ($named.Count -ne 1) { Fail 10 "the agent reports success, but names $($named.Count) nodes: $named. Run this again" }
    return [pscustomobject]@{ Node = $named[0]; Text = $result.Text }
}

function Get-Refusal([string] $Text) {
    switch -Regex ($Text) {
        'ActivationExpired' { return 7 }
        'RegistrationLimitExceeded' { return 8 }
        'InvalidActivation' { return 9 }
        'RequestError: send request failed|i/o timeout|no such host|connection refused' { return 15 }
    }
    return 10
}

function Write-Marker($Identity, [string] $Node) {
    New-Item -ItemType Directory -Force -Path (Split-Path $Marker) | Out-Null
    @{
        managedInstanceId = $Node; ec2InstanceId = $Identity.Instance; account = $Identity.Account
        region = $Identity.Region; registeredAt = [datetime]::UtcNow.ToString('yyyy-MM-ddTHH:mm:ssZ')
    } | ConvertTo-Json | Set-Content -LiteralPath $Marker -Encoding ASCII
}

function Write-Tag($Identity, [string] $Node) {
    try {
        New-EC2Tag -Resource $Identity.Instance -Tag @{ Key = 'managedinstanceid'; Value = $Node } `
            -Region $Identity.Region -Credential $Identity.Credential
    } catch {
        Fail 13 "registered as $Node, but the tag managedinstanceid could not be written: $($_.Exception.Message). Run this again"
    }
}

function Invoke-Run {
    $principal = [Security.Principal.WindowsPrincipal][Security.Principal.WindowsIdentity]::GetCurrent()
    if (-not $principal.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) { Fail 3 'run this as administrator' }
    if (-not (Test-Path -LiteralPath $Agent)) { Fail 5 "the agent is not installed: there is no $Agent" }
    foreach ($cmdlet in 'New-AWSCredential', 'Get-SSMParameter', 'New-EC2Tag') {
        if (-not (Get-Command $cmdlet -ErrorAction SilentlyContinue)) { Fail 5 "AWS Tools for PowerShell are not installed: there is no $cmdlet" }
    }

    $identity = Get-Identity
    Say "this is $($identity.Instance) in account $($identity.Account), $($identity.Region)"
    $node = Get-RegisteredNode
    if ($node) {
        $mark = Read-Json $Marker
        $isMarked = (Get-Field $mark 'managedInstanceId') -eq $node
        if ($isMarked -and (Get-Field $mark 'ec2InstanceId') -ne $identity.Instance) {
            Fail 12 ("this machine carries the registration of another: $node belongs to $($mark.ec2InstanceId). Nothing was changed. " +
                "Clear what the image carried and run this again: Stop-Service $Service; & '$Agent' -register -clear; " +
                "Remove-Item '$($Registrations -join "', '")', '$Marker' -ErrorAction SilentlyContinue; Start-Service $Service")
        }
        if ($DryRun) { Say "registered as $node; would write the tag"; return }
        if (-not $isMarked) { Write-Marker $identity $node }
        Write-Tag $identity $node
        Say "$($identity.Instance) was registered as $node before; its tag is written"
        return
    }

    $activation = Get-Activation $identity
    if ($DryRun) { Say "would stop the agent, register it with activation $($activation.Id) in $($activation.Region), start it, and write the tag"; return }
    $result = Register-Node $activation
    if (-not $result.Node -and (Get-Refusal $result.Text) -in 7, 8, 9) {
        # The hub may have renewed it in the meantime.
        $renewed = Get-Activation $identity
        if ($renewed.Code -ne $activation.Code -or $renewed.Id -ne $activation.Id) { $result = Register-Node $renewed }
    }
    if (-not $result.Node) { Fail (Get-Refusal $result.Text) "the agent did not register: $($result.Text)" }
    Say "registered as $($result.Node)"
    Write-Marker $identity $result.Node
    Write-Tag $identity $result.Node
    Say "$($identity.Instance) is now registered as $($result.Node), and tagged"
}

# Two runs at once would stop the agent under each other.
$lock = New-Object System.Threading.Mutex $false, 'Global\TagHubRegisterInstance'
$isMine = $false
$exitCode = 0
try {
    try { $isMine = $lock.WaitOne(0) } catch [System.Threading.AbandonedMutexException] { $isMine = $true }
    if (-not $isMine) { Fail 14 'another run is at work on this machine' }
    Invoke-Run
} catch {
    $exitCode = if ($_.Exception.Data.Contains('ExitCode')) { $_.Exception.Data['ExitCode'] } else { 1 }
    [Console]::Error.WriteLine("register-instance: $($_.Exception.Message)")
} finally {
    if ($isMine) { $lock.ReleaseMutex() }
}
exit $exitCode
